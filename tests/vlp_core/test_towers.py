"""Two towers as a value: what open_clip builds of them, what they ask of data, and what is refused in the plan."""

import subprocess
import sys

import open_clip
import pytest
import torch

from vlp_core.errors import UserError
from vlp_core.towers import Towers


def shapes(config: dict[str, object]) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: value.shape for name, value in open_clip.CLIP(**config).state_dict().items()}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("ViT-B-32", {}),
        ("ViT-B-16", {"patch": 16}),
        ("RN50", {"tower": "resnet", "vision_width": 64, "vision_layers": 3, "embed_dim": 1024}),
    ],
)
def test_sizes_and_names_give_the_towers_that_open_clip_has(name: str, sizes: dict[str, object]) -> None:
    """Its RN50 has 3, 4, 6 and 3 blocks in its stages; ours have the same number in each."""
    theirs = open_clip.get_model_config(name)
    assert Towers(open_clip=name).model_cfg() == theirs
    expected = {key: shape for key, shape in shapes(theirs).items() if "visual.layer" not in key}
    found = {key: shape for key, shape in shapes(Towers(**sizes).model_cfg()).items() if "visual.layer" not in key}
    assert found == expected


@pytest.mark.parametrize(
    ("name", "mean", "resize_mode"),
    [
        (None, 0.48145466, "shortest"),
        ("ViT-B-32", 0.48145466, "shortest"),
        ("MobileCLIP-S1", 0.0, "shortest"),
        ("PE-Core-B-16", 0.5, "squash"),
        pytest.param("ViT-L-14", 0.48145466, "shortest", id="weights that disagree: OpenAI's"),
    ],
)
def test_pictures_are_brought_to_what_an_architectures_weights_know(
    name: str | None, mean: float, resize_mode: str
) -> None:
    needs = Towers(open_clip=name).needs
    assert (needs.mean[0], needs.resize_mode) == (mean, resize_mode)


def test_side_and_length_are_those_of_the_towers() -> None:
    for towers, expected in [
        (Towers(image_size=64, patch=16, context=24), (64, 24)),
        (Towers(image_size=64, open_clip="ViT-B-32-256"), (256, 77)),
    ]:
        assert (towers.needs.size, towers.needs.length) == expected


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_size": 65}, "--model.image-size 65: give a multiple of 32"),
        ({"image_size": 48, "tower": "resnet", "patch": 16}, "--model.image-size 48: give a multiple of 32"),
        ({"vision_width": 100}, "--model.vision-width 100: give a multiple of 64"),
        ({"text_width": 32, "text_heads": 3}, "--model.text-width 32: give a multiple of 3"),
        ({"text_heads": 0}, "--model.text-heads 0: give 1 or more"),
        ({"vision_layers": 0}, "--model.vision-layers 0: give 1 or more"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=f"^{says}$"):
        Towers(**changes)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("coca_ViT-B-32", "captioning objective.* such as ViT-B-32"),
        ("ViT-B32", "no architecture 'ViT-B32'; did you mean 'ViT-B-32'"),
        ("ViT-B-16-SigLIP", "its tokenizer is Hugging Face's.* as ViT-B-32"),
    ],
)
def test_architectures_that_cannot_be_trained_are_refused_when_it_is_asked_what_they_need(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        _ = Towers(open_clip=name).needs
    assert "\n" not in str(error.value)


def test_sizes_are_read_without_torch() -> None:
    """The plan of a pipeline asks a recipe what it needs, and must be quick."""
    program = (
        "import sys, vlp_core.recipes.clip as clip, jobs.train; clip.TINY.system.needs; "
        "print({'torch', 'open_clip', 'deepspeed', 'ray'} & set(sys.modules) or '')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stdout.strip(), done.stdout
