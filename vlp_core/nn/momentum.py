"""A twin that follows a module as the moving mean of its weights (He et al., 2019, arXiv:1911.05722, equation 2)."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


class Momentum(nn.Module):
    """The twin of `source`, frozen.

    beside: parts whose twins are wanted too, and which may share weights with the source, as their twins then do with
        its twin.

    It follows at `update`, which a System calls once a step of training, before the forward pass. Its weights are fp32:
    in bf16 a decay near 1 would leave it where it is. Not for ZeRO-3, where no rank has whole weights to follow.
    """

    def __init__(self, source: nn.Module, decay: float, *, beside: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.decay = decay
        followed = nn.ModuleList([source, *beside])
        self.twin, *others = deepcopy(followed).requires_grad_(False)
        self.beside = nn.ModuleList(others)
        self._followed = [followed]  # in a list: they are parts of other modules, and are kept and trained there

    def of(self, part: nn.Module) -> nn.Module:
        """The twin of the source, or of one of the parts beside it."""
        return self._twins()[list(self._followed[0]).index(part)]

    @torch.no_grad()
    def update(self) -> None:
        """twin ← decay · twin + (1 − decay) · source; buffers are taken over."""
        source, twins = self._followed[0], self._twins()
        mine: list[Tensor] = list(twins.parameters())
        theirs = [value.to(own.dtype) for own, value in zip(mine, source.parameters(), strict=True)]
        torch._foreach_lerp_(mine, theirs, 1 - self.decay)
        for own, other in zip(twins.buffers(), source.buffers(), strict=True):
            own.copy_(other)

    @torch.no_grad()
    def reset(self) -> None:
        """Begin as the source is."""
        self._twins().load_state_dict(self._followed[0].state_dict())

    def _twins(self) -> nn.ModuleList:
        return nn.ModuleList([self.twin, *self.beside])
