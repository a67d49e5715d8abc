import pytest
import torch
from torch import nn

from tests.vlp_core.train.builders import SMALL, batch, system
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.system import System, View


class Alignment(nn.Module):
    """1 - cosine of each pair."""

    def forward(self, view):
        return (1 - (view.image() * view.text()).sum(dim=1)).mean()


class Shuffled(nn.Module):
    """Asks for a pass over other tokens than the batch's, twice."""

    def forward(self, view):
        turned = view.batch.tokens.flip(0)
        return (view.text(turned) * view.text(turned) * view.text()).mean()


def counted(system_):
    """Calls of the two towers."""
    calls = {"image": 0, "text": 0}
    clip = system_.model.clip
    clip.visual.register_forward_hook(lambda *_: calls.__setitem__("image", calls["image"] + 1))
    clip.transformer.register_forward_hook(lambda *_: calls.__setitem__("text", calls["text"] + 1))
    return calls


def test_objectives_share_passes_and_other_inputs_are_other_passes():
    model = system().model
    both = System(model, {"contrastive": Contrastive(), "alignment": Alignment(), "shuffled": Shuffled()})
    calls = counted(both)
    both(batch(0, 4))
    assert calls == {"image": 1, "text": 2}


def test_losses_do_not_depend_on_the_order_of_objectives():
    model = system().model
    one = System(model, {"contrastive": Contrastive(), "alignment": Alignment()})(batch(0, 4))
    other = System(model, {"alignment": Alignment(), "contrastive": Contrastive()})(batch(0, 4))
    assert {name: value.item() for name, value in one.items()} == {name: value.item() for name, value in other.items()}


def test_the_total_is_the_weighted_sum():
    both = System(system().model, {"contrastive": Contrastive(), "alignment": Alignment()}, {"alignment": 0.25})
    out = both(batch(0, 4))
    assert out["loss"].item() == pytest.approx(out["contrastive"].item() + 0.25 * out["alignment"].item())
    assert not out["scale"].requires_grad


def test_pixels_are_normalised_by_the_models_mean_and_deviation():
    """Against torchvision's own transform."""
    from torchvision.transforms import Normalize

    preprocess = SMALL.config()["open_clip"]["preprocess_cfg"]
    whole, model = system(), batch(0, 4)
    given = Normalize(preprocess["mean"], preprocess["std"])(model.pixels / 255)
    with torch.no_grad():
        torch.testing.assert_close(View(whole.model, model).image(), whole.model.encode_image(given))
