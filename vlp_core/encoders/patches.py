"""Pictures as patches through one linear map: the cheapest visual embedder (ViLT, arXiv:2102.03334, section 3)."""

import torch
from torch import Tensor, nn

from vlp_core.errors import UserError
from vlp_core.nn.blocks import initialise, position_table
from vlp_core.sequence import Sequence


class PatchEmbed(nn.Module):
    """float pixels [B, 3, H, W] -> a state for the whole and one a patch, [B, 1 + N, dim], with their places.

    norm: whether they are normalised then, as in CLIP's towers (Radford et al., 2021, arXiv:2103.00020, section 2.4).
    """

    def __init__(self, dim: int, patch: int, image_size: int, *, norm: bool = False) -> None:
        super().__init__()
        check_grid(image_size, patch)
        self.dim, self.count = dim, (image_size // patch) ** 2
        self.projection = nn.Linear(3 * patch * patch, dim)
        self.whole = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = position_table(1 + self.count, dim)
        self.norm: nn.Module = nn.LayerNorm(dim) if norm else nn.Identity()
        self.patch = patch
        initialise(self, dim)

    def forward(self, pixels: Tensor, keep: Tensor | None = None) -> Sequence:
        """`keep` int64 [B, K]: the patches that are looked at; the others are left out."""
        states = self.projection(cut(pixels, self.patch)) + self.position[:, 1:]
        if keep is not None:
            states = states.gather(1, keep[:, :, None].expand(-1, -1, self.dim))
        whole = (self.whole + self.position[:, :1]).expand(len(states), -1, -1)
        return Sequence(self.norm(torch.cat([whole, states], dim=1)))


def check_grid(image_size: int, patch: int) -> None:
    """UserError where patches do not fill a picture."""
    if min(image_size, patch) < 1 or image_size % patch:
        raise UserError(
            f"image size {image_size} and patches of {patch}: give an image size that is a multiple of the patch"
        )


def cut(pixels: Tensor, patch: int) -> Tensor:
    """[B, 3, H, W] -> [B, N, 3 · patch · patch], row by row, each patch with its channels first."""
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    grid = pixels.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
    return grid.reshape(batch, rows * columns, channels * patch * patch)
