"""What may attend to what: boolean masks, True where a query (row) may look at a key (column).

They are broadcast to [B, heads, L, N]; `None` lets everything see everything.
"""

import torch
from torch import Tensor

Mask = Tensor | None


def keys(there: Mask) -> Mask:
    """bool [B, N], True where there is something -> [B, 1, 1, N]: nobody looks at padding."""
    return None if there is None else there[:, None, None, :]


def causal(length: int, device: torch.device, *, past: int = 0) -> Tensor:
    """[1, 1, length, past + length]: a token sees itself and those before it, `past` of which are kept in a cache."""
    rows = torch.arange(past, past + length, device=device)
    return (torch.arange(past + length, device=device)[None, :] <= rows[:, None])[None, None]


def prefix(seen: int, length: int, device: torch.device) -> Tensor:
    """[1, 1, S + L, S + L]: the first S tokens see one another, the L after them see those and what came before."""
    whole = torch.arange(seen + length, device=device)
    return ((whole[None, :] < seen) | ((whole[:, None] >= seen) & (whole[None, :] <= whole[:, None])))[None, None]


def both(first: Mask, second: Mask) -> Mask:
    """What both allow."""
    if first is None or second is None:
        return second if first is None else first
    return first & second
