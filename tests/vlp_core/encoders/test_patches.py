import torch
import torch.nn.functional as F

from vlp_core.encoders.patches import PatchEmbed, cut


def pixels(rows: int = 2, size: int = 12) -> torch.Tensor:
    return torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_patches_are_cut_row_by_row_with_their_channels_first():
    given = pixels()
    patches = cut(given, 4)
    assert patches.shape == (2, 9, 48)
    assert torch.equal(patches[:, 5].reshape(2, 3, 4, 4), given[:, :, 4:8, 8:12])


def test_a_patch_is_embedded_as_by_a_convolution_of_its_size_and_gets_its_place():
    embed = PatchEmbed(8, 4, 12)
    states = embed(pixels()).states
    kernel = embed.projection.weight.reshape(8, 3, 4, 4)
    grid = F.conv2d(pixels(), kernel, embed.projection.bias, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(states[:, 1:], grid + embed.position[:, 1:])
    torch.testing.assert_close(states[:, 0], (embed.whole + embed.position[:, :1])[:, 0].expand(2, -1))
    assert embed.count == 9


def test_kept_patches_keep_their_places_and_the_whole_stays_first():
    embed = PatchEmbed(8, 4, 12)
    keep = torch.tensor([[0, 7], [3, 4]])
    every, kept = embed(pixels()).states, embed(pixels(), keep).states
    assert kept.shape == (2, 3, 8)
    torch.testing.assert_close(kept[:, 0], every[:, 0])
    for row in range(2):
        torch.testing.assert_close(kept[row, 1:], every[row, 1 + keep[row]])
