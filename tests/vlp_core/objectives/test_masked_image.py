from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.interop import from_transformers
from vlp_core.objectives.masked_image import MaskedImage
from vlp_core.recipes.vlc import VLC
from vlp_core.sequence import Fused
from vlp_core.view import RandomPlaces, View

HALF = RandomPlaces(0.5)


class Given(nn.Module):
    """A decoder that says what it was told to."""

    def __init__(self, pixels: torch.Tensor) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, _states: torch.Tensor, _seen: torch.Tensor) -> torch.Tensor:
        return self.pixels


@dataclass
class Pictures:
    """A view of one grey picture of 2 × 2 patches of 2 × 2 pixels, two of which are hidden."""

    grey: torch.Tensor

    def places(self, _change: RandomPlaces) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([[0, 3]]), torch.tensor([[1, 2]])

    def fused(self, **_passed: object) -> Fused:
        return Fused(image=torch.zeros(1, 3, 1))

    def pixels(self) -> torch.Tensor:
        return self.grey.expand(1, 3, 4, 4)


ROWS = torch.tensor([[0.0, 0, 1, 3], [0, 0, 1, 3], [2, 2, 9, 9], [2, 6, 9, 9]])


def test_the_mean_squared_error_of_the_hidden_patches_alone():
    """Of numbers less their mean, by the unbiased deviation of all 12, the squares' mean is 11 / 12."""
    wrong_where_seen = torch.zeros(1, 4, 12)
    wrong_where_seen[:, [0, 3]] = 1000.0
    objective = MaskedImage(Given(wrong_where_seen), HALF, patch=2, words=None)
    assert objective(Pictures(ROWS)).item() == pytest.approx(11 / 12, rel=1e-5)


@pytest.mark.parametrize("hidden", [0.25, 0.6, 0.75])
def test_the_share_of_places_is_hidden_and_each_is_seen_or_hidden(hidden: float):
    view = VLC(trunk=(16, 1, 2), decoder=(16, 1, 2), patch=8, image_size=64).build(WORDS).view(batch(40))
    assert isinstance(view, View)
    seen, unseen = view.places(RandomPlaces(hidden))
    assert unseen.shape == (40, round(hidden * 64))
    every = torch.cat([seen, unseen], dim=1).sort(dim=1).values
    assert torch.equal(every, torch.arange(64).expand(40, -1))
    often = torch.zeros(64).index_add(0, unseen.flatten(), torch.ones(unseen.numel())) / 40
    assert ((often - hidden).abs() < 5 * (hidden * (1 - hidden) / 40) ** 0.5).all()
    fewer = replace(batch(40), **{field: getattr(batch(40), field)[7:9] for field in ("pixels", "tokens", "key")})
    assert torch.equal(View(view.model, fewer).places(RandomPlaces(hidden))[0], seen[7:9])


@torch.no_grad()
def test_hidden_pixels_reach_neither_the_states_nor_the_decoder():
    system = VLC(trunk=(16, 2, 2), decoder=(16, 1, 2), patch=16, image_size=64).build(WORDS).eval()
    given, hidden = batch(3), RandomPlaces(0.6)
    view = system.view(given)
    _, unseen = view.places(hidden)
    pixels = given.pixels.clone()
    for row, places in enumerate(unseen):
        for place in places.tolist():
            y, x = 16 * (place // 4), 16 * (place % 4)
            pixels[row, :, y : y + 16, x : x + 16] = 255 - pixels[row, :, y : y + 16, x : x + 16]
    changed = system.view(replace(given, pixels=pixels))
    for name in ("image", "text"):
        before, after = (getattr(seen.fused(image=hidden), name) for seen in (view, changed))
        assert torch.equal(before, after)
    assert not torch.allclose(view.fused().text, changed.fused().text)


@torch.no_grad()
def test_with_the_weights_of_a_masked_autoencoder_its_pixels_and_its_loss():
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    narrow = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    theirs = ViTMAEForPreTraining(
        ViTMAEConfig(
            **sizes,
            **{f"decoder_{name}": value for name, value in narrow.items()},
            image_size=32,
            patch_size=8,
            mask_ratio=0.75,
            norm_pix_loss=True,
            layer_norm_eps=1e-6,
        )
    ).eval()
    for parameter in theirs.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    system = VLC(trunk=(32, 2, 4), decoder=(16, 2, 2), patch=8, image_size=32, hidden=0.75).build(WORDS).eval()
    lacking = system.load_state_dict(from_transformers(theirs), strict=False)
    assert not lacking.unexpected_keys
    system.model.fusion.modality.weight.zero_()  # which a picture alone has none of
    view, mim = system.view(batch(4, size=32)), system.objectives["mim"]
    seen, _ = view.places(mim.hidden)
    noise = torch.ones(4, 16).scatter(1, seen, torch.arange(4.0).expand(4, -1) / 10)
    expected = theirs(view.pixels(), noise=noise)
    states = system.model.fusion(view.image(mim.hidden), None).image
    pixels = mim.decoder(states, seen)
    channels_last = pixels.unflatten(-1, (3, 64)).transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(channels_last, expected.logits, atol=1e-4, rtol=0)

    class Alone(View):
        """A view of pictures without a text."""

        def fused(self, **_passed: object) -> Fused:
            return Fused(image=states)

    torch.testing.assert_close(mim(Alone(system.model, view.batch)), expected.loss, atol=1e-5, rtol=0)
