"""What the rows of a batch are to all ranks: gathered with their gradients, or averaged over all that count."""

from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from vlp_core.sequence import Sequence


def alone() -> bool:
    """Whether this is the only rank."""
    return not dist.is_initialized() or dist.get_world_size() == 1


def first_row(rows: int) -> int:
    """Where this rank's rows begin among those of all ranks, each of which has as many."""
    return 0 if alone() else dist.get_rank() * rows


class _Gather(torch.autograd.Function):
    """Rows of all ranks in rank order; the gradient of a row is the sum of what every rank has for it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        return _all_rows(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        own = gradient.new_empty(ctx.rows, *gradient.shape[1:])
        dist.reduce_scatter_single(own, gradient.contiguous())
        return own


def gather(rows: Tensor) -> Tensor:
    """[B, …] on each of W ranks (the same shape on all) -> [W·B, …] on all of them; itself where there is one rank."""
    if alone():
        return rows
    return cast(Tensor, _Gather.apply(rows)) if rows.requires_grad else _all_rows(rows)


def gather_texts(rows: Tensor, fill: int | float | bool = 0) -> Tensor:
    """As `gather`, for rows [B, L, …] whose length differs from rank to rank: shorter ones are filled up at the end."""
    if alone():
        return rows
    longest = torch.full((), rows.shape[1], device=rows.device)
    dist.all_reduce(longest, dist.ReduceOp.MAX)
    spare = int(longest) - rows.shape[1]
    widths = [0, 0] * (rows.ndim - 2) + [0, spare]
    return gather(F.pad(rows, widths, value=fill) if spare else rows)


def gather_sequence(sequence: Sequence) -> Sequence:
    """The sequences of all ranks; what differs in length is padded and masked."""
    if alone():
        return sequence
    whole = None if sequence.whole is None else gather(sequence.whole)
    if sequence.mask is None:
        return sequence._replace(states=gather(sequence.states), whole=whole)
    states = gather_texts(sequence.states)
    mask = F.pad(sequence.mask, [0, states.shape[1] - sequence.mask.shape[1]])
    return sequence._replace(states=states, mask=gather(mask), whole=whole)


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Σ total / Σ count over all ranks, as this rank's part of it: the mean of the ranks' values is the global mean.

    0 where nothing counts on any rank.
    """
    count = count.to(total.dtype)
    if alone():
        return total / count.clamp(min=1)
    everywhere = count.detach().clone()
    dist.all_reduce(everywhere)
    return total * dist.get_world_size() / everywhere.clamp(min=1)


def _all_rows(rows: Tensor) -> Tensor:
    kind = rows.dtype
    sent = rows.detach().contiguous().view(torch.uint8) if kind == torch.bool else rows.detach().contiguous()
    everywhere = sent.new_empty(dist.get_world_size() * len(sent), *sent.shape[1:])
    dist.all_gather_single(everywhere, sent)
    return everywhere.view(torch.bool) if kind == torch.bool else everywhere
