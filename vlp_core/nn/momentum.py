"""A twin that follows a module as the moving mean of its weights (He et al., 2019, arXiv:1911.05722, equation 2)."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn


class Momentum(nn.Module):
    """The twin of `source`, frozen; called as the source is, without gradients.

    It follows at `update`, which a System calls once a step of training, before the forward pass. Its weights are fp32:
    in bf16 a decay near 1 would leave it where it is. Not for ZeRO-3, where no rank has whole weights to follow.
    """

    def __init__(self, source: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.twin = deepcopy(source).requires_grad_(False)
        self._source = [source]  # in a list: it is a part of another module, and is kept and trained there

    @torch.no_grad()
    def update(self) -> None:
        """twin ← decay · twin + (1 − decay) · source; buffers are taken over."""
        source = self._source[0]
        mine: list[Tensor] = list(self.twin.parameters())
        theirs = [value.to(own.dtype) for own, value in zip(mine, source.parameters(), strict=True)]
        torch._foreach_lerp_(mine, theirs, 1 - self.decay)
        for own, other in zip(self.twin.buffers(), source.buffers(), strict=True):
            own.copy_(other)

    @torch.no_grad()
    def reset(self) -> None:
        """Begin as the source is."""
        self.twin.load_state_dict(self._source[0].state_dict())

    @torch.no_grad()
    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self.twin(*arguments, **options)
