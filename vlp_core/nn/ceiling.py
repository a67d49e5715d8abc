"""A parameter's upper bound that training can come back from, the same for however many ranks there are."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Ceiling(torch.autograd.Function):
    """min(x, ceiling) whose gradient is cut only where a step would push x further up.

    A plain clamp has no gradient above the ceiling, so a scale that momentum carried over it would never come back.
    Every rank is given the mean of the ranks' gradients, for it is the whole batch that pushes: were each rank's own
    cut, the mean of those that push down would be left. An engine that averages over ranks leaves that as it is.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        """x of any shape, equal on all ranks -> the same shape."""
        ctx.save_for_backward(x > ceiling)
        return x.clamp(max=ceiling)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (above,) = ctx.saved_tensors
        (gradient,) = gradients
        if dist.is_initialized() and dist.get_world_size() > 1:
            gradient = gradient.contiguous().clone()
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        return torch.where(above & (gradient < 0), torch.zeros_like(gradient), gradient), None
