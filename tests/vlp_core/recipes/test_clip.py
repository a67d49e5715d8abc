import subprocess
import sys

import pytest

from tests.vlp_core.train.builders import VOCABULARY
from vlp_core.errors import UserError
from vlp_core.recipes.clip import CLIP, PAPER
from vlp_core.sizes import config_of


def test_the_papers_recipe_is_open_clips_vit_b_32():
    import open_clip
    import torch

    def shapes(model):
        return {name: tuple(value.shape) for name, value in model.state_dict().items() if name != "logit_scale"}

    with torch.device("meta"):
        theirs = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))
        assert shapes(PAPER.system.build(VOCABULARY).model.clip) == shapes(theirs)
        assert shapes(CLIP(open_clip="ViT-B-32").build(VOCABULARY).model.clip) == shapes(theirs)


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
def test_pictures_are_brought_to_what_an_architectures_weights_know(name, mean, resize_mode):
    preprocess = config_of(CLIP(open_clip=name))["preprocess"]
    assert (preprocess["mean"][0], preprocess["resize_mode"]) == (mean, resize_mode)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_size": 65}, "--model.image-size 65: give a multiple of 16"),
        ({"vision_width": 100}, "--model.vision-width 100: give a multiple of 64"),
        ({"text_width": 32, "text_heads": 3}, "--model.text-width 32: give a multiple of 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, says):
    with pytest.raises(UserError, match=says):
        CLIP(**changes)


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "ViT-B-32-of-mine", "ViT-B-16-SigLIP"])
def test_architectures_that_cannot_be_trained_are_refused(name):
    with pytest.raises(UserError, match="ViT-B-32"):
        CLIP(open_clip=name).build(VOCABULARY)


def test_recipes_and_the_stage_are_read_without_torch():
    """The plan of a pipeline imports both, and must be quick."""
    heavy = "{'torch', 'open_clip', 'deepspeed', 'ray'}"
    program = f"import sys, vlp_core.recipes, jobs.train; sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert not done.stderr.strip()
