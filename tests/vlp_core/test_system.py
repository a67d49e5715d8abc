import pytest
import torch
from torch import nn

from tests.vlp_core.train.builders import SMALL, batch, config, system
from vlp_core.dual_encoder import DualView
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.weighted import Weighted
from vlp_core.system import System


class Alignment(nn.Module):
    """1 - cosine of each pair."""

    def forward(self, view):
        return (1 - (view.image_vectors() * view.text_vectors()).sum(dim=1)).mean()


def counted(system_):
    """Calls of the two towers."""
    calls = {"image": 0, "text": 0}
    clip = system_.model.clip
    clip.visual.register_forward_hook(lambda *_: calls.__setitem__("image", calls["image"] + 1))
    clip.transformer.register_forward_hook(lambda *_: calls.__setitem__("text", calls["text"] + 1))
    return calls


def test_objectives_share_passes():
    model = system().model
    both = System(model, {"contrastive": Contrastive(), "alignment": Alignment()})
    calls = counted(both)
    both(batch(0, 4))
    assert calls == {"image": 1, "text": 1}


def test_losses_do_not_depend_on_the_order_of_objectives():
    model = system().model
    one = System(model, {"contrastive": Contrastive(), "alignment": Alignment()})(batch(0, 4))
    other = System(model, {"alignment": Alignment(), "contrastive": Contrastive()})(batch(0, 4))
    assert {name: value.item() for name, value in one.items()} == {name: value.item() for name, value in other.items()}


def test_the_total_is_the_weighted_sum():
    both = System(system().model, {"contrastive": Contrastive(), "alignment": Weighted(0.25, Alignment())})
    out = both(batch(0, 4))
    assert out["loss"].item() == pytest.approx(out["contrastive"].item() + 0.25 * out["alignment"].item())
    assert not out["scale"].requires_grad


def test_pixels_are_normalised_by_the_models_mean_and_deviation():
    """Against torchvision's own transform."""
    from torchvision.transforms import Normalize

    preprocess = config(SMALL)["preprocess"]
    whole, model = system(), batch(0, 4)
    given = Normalize(preprocess["mean"], preprocess["std"])(model.pixels / 255)
    with torch.no_grad():
        torch.testing.assert_close(DualView(whole.model, model).image_vectors(), whole.model.encode_image(given))
