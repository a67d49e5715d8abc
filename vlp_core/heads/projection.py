"""The space in which pictures and texts are compared."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.blocks import initialise
from vlp_core.nn.ceiling import Ceiling


class Projection(nn.Linear):
    """[B, in] -> unit vectors [B, out]"""

    def __init__(self, width: int, dim: int, *, bias: bool = True) -> None:
        super().__init__(width, dim, bias=bias)
        initialise(self, width)

    def forward(self, state: Tensor) -> Tensor:
        return F.normalize(super().forward(state), dim=-1)


class Scale(nn.Module):
    """The factor before the softmax: kept as its logarithm, and held between two bounds if they are given."""

    def __init__(self, initial: float = 1 / 0.07, *, floor: float | None = None, ceiling: float = 100.0) -> None:
        super().__init__()
        # One dimension: DeepSpeed 0.19 cannot hold parameters without any.
        self.logarithm = nn.Parameter(torch.full((1,), math.log(initial)))
        self.floor, self.ceiling = floor, ceiling

    def forward(self) -> Tensor:
        """The factor [1]"""
        held = cast(Tensor, Ceiling.apply(self.logarithm, math.log(self.ceiling)))
        if self.floor is not None:
            held = -cast(Tensor, Ceiling.apply(-held, -math.log(self.floor)))
        return held.exp()


class Align(nn.Module):
    """A state of a picture and one of a text, each mapped to unit vectors [B, dim], and the scale of their products."""

    def __init__(
        self, image_dim: int, text_dim: int, dim: int, *, scale: Scale | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.image, self.text = Projection(image_dim, dim, bias=bias), Projection(text_dim, dim, bias=bias)
        self.scale = scale or Scale()
