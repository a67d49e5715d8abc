import pytest
import torch
from torch import nn

from vlp_core.encoders.pictures import PictureEncoder, by_name, vit
from vlp_core.errors import UserError


def pixels(size: int, rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size", "places", "width", "before"),
    [
        ("vit_tiny_patch16_224", 64, 16, 192, 1),
        ("vit_base_patch16_clip_224", 32, 4, 768, 1),
        ("vit_small_patch14_reg4_dinov2", 28, 4, 384, 5),
        ("vit_base_patch16_siglip_224", 32, 4, 768, 0),
        ("resnet10t", 64, 4, 512, 0),
        ("resnet10t", 65, 9, 512, 0),
        ("convnext_atto", 64, 4, 320, 0),
        ("swin_tiny_patch4_window7_224", 64, 4, 768, 0),
        ("swinv2_cr_tiny_224", 64, 4, 768, 0),
    ],
)
def test_any_encoder_of_timms_gives_its_tokens_or_its_grid(name: str, size: int, places: int, width: int, before: int):
    encoder = by_name(name, image_size=size, **({"depth": 1} if name.startswith("vit") else {})).eval()
    with torch.no_grad():
        seen = encoder(pixels(size))
    assert (encoder.dim, encoder.count, seen.before) == (width, places, before)
    assert seen.states.shape == (2, before + places, width)
    torch.testing.assert_close(seen.first, seen.states[:, 0] if before else seen.states.mean(dim=1))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t", "swin_tiny_patch4_window7_224"])
def test_places_that_are_not_kept_are_left_out_and_the_others_are_as_they_were(name: str):
    encoder = by_name(name, image_size=64, dim=24).eval()
    keep = torch.tensor([[0, 3], [1, 2]])
    with torch.no_grad():
        all_of_it, kept = encoder(pixels(64)), encoder(pixels(64), keep)
    before = all_of_it.before
    assert kept.states.shape == (2, before + 2, 24)
    torch.testing.assert_close(kept.states[:, :before], all_of_it.states[:, :before])
    for row, places in enumerate(keep):
        torch.testing.assert_close(kept.states[row, before:], all_of_it.states[row, before + places])


def test_a_grid_is_read_row_by_row():
    """A body that hands on its pixels: the grid's first row comes first, whether channels come first or last."""

    class Same(nn.Module):
        num_features = 3

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    class Last(Same):
        output_fmt = "NHWC"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, 2, 3, 1)

    given = pixels(4)
    expected = torch.stack([given[:, :, y, x] for y in range(4) for x in range(4)], dim=1)
    for body in (Same(), Last()):
        assert torch.equal(PictureEncoder(body, 4)(given).states, expected)
    halved = PictureEncoder(Last(), 4, pool=nn.MaxPool2d(2))
    assert halved.count == 4
    assert torch.equal(halved(given).states[:, 1], given[:, :, 0:2, 2:4].amax(dim=(2, 3)))


def test_making_an_encoder_leaves_its_batch_norms_as_they_began():
    encoder = by_name("resnet10t", image_size=64)
    assert encoder.training and encoder.body.training
    assert encoder.body.bn1.running_mean.eq(0).all() and encoder.body.bn1.num_batches_tracked == 0


def test_a_vit_has_the_sizes_that_were_given():
    encoder = vit(image_size=48, patch=16, dim=32, depth=2, heads=4)
    assert encoder(pixels(48)).states.shape == (2, 10, 32)
    assert (len(encoder.body.blocks), encoder.count, encoder.dim) == (2, 9, 32)


@pytest.mark.parametrize(
    ("name", "meant"), [("resnet5O", "resnet50"), ("swin_tiny_patch4_window7", "swin_tiny_patch4_window7_224")]
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, meant: str):
    with pytest.raises(UserError, match=f"no model '{name}'; did you mean '{meant}'"):
        by_name(name, image_size=64)
