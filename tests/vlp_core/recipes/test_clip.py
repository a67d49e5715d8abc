"""CLIP, and SigLIP's loss on the same recipe."""

import open_clip
import pytest
import torch
from open_clip import factory

from tests.vlp_core.recipes.builders import WORDS
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.sigmoid import Sigmoid
from vlp_core.recipes.clip import CLIP, PAPER

SMALL = CLIP(image_size=32, patch=16, vision_width=64, vision_layers=1, text_width=32, text_layers=1)


def test_the_papers_recipe_is_open_clips_vit_b_32() -> None:
    def shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in model.state_dict().items() if name != "logit_scale"}

    with torch.device("meta"):
        theirs = shapes(open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")))
        assert shapes(PAPER.system.build(WORDS).model.clip) == theirs
        assert shapes(CLIP(open_clip="ViT-B-32").build(WORDS).model.clip) == theirs


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("loss", "objective", "scale", "bias"),
    [("softmax", Contrastive, 1 / 0.07, None), ("sigmoid", Sigmoid, 10.0, -10.0)],
)
def test_a_loss_brings_the_scale_and_the_bias_that_its_paper_begins_with(
    loss: str, objective: type, scale: float, bias: float | None, by_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLIP, section 2.5; SigLIP, section 3.2."""
    monkeypatch.setitem(factory._MODEL_CONFIGS, "small", SMALL.model_cfg())
    sizes = {"open_clip": "small"} if by_name else vars(SMALL)
    system = CLIP(**{**sizes, "loss": loss}).build(WORDS)
    assert isinstance(system.objectives["itc"], objective)
    assert system.model.scale().item() == pytest.approx(scale)
    found = system.model.clip.logit_bias
    assert found is None if bias is None else found.item() == bias
