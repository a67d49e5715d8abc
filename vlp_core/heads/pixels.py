"""Pixels out of states: MAE's decoder (arXiv:2111.06377, section 3)."""

import torch
from torch import Tensor, nn

from vlp_core.nn.blocks import Trunk, initialise, position_table


class PixelDecoder(nn.Module):
    """States of a picture's seen places -> pixels of all its patches, by a transformer narrower than the encoder."""

    def __init__(self, width: int, *, places: int, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.places = places
        self.embed = nn.Linear(width, dim)
        self.hidden = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = position_table(1 + places, dim)
        self.pixels = nn.Linear(dim, 3 * patch * patch)
        initialise(self, dim)
        self.trunk = Trunk(dim, depth, heads)

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        """States [B, 1 + K, width], the first of the whole picture; seen int64 [B, K] -> [B, places, 3 · patch²]."""
        states = self.embed(states)
        rows = seen[:, :, None].expand(-1, -1, states.shape[-1])
        patches = self.hidden.to(states.dtype).expand(len(states), self.places, -1).scatter(1, rows, states[:, 1:])
        states = self.trunk(torch.cat([states[:, :1], patches], dim=1) + self.position)
        return self.pixels(states[:, 1:])
