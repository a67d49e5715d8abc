"""Random numbers that belong to a sample: drawn from its key and a purpose, so that neither its place in a batch nor
the number of ranks matters.

The keys are mixed by SplitMix64's finaliser (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number
generators", figure 15), used as a hash of key and counter.
"""

import torch
from torch import Tensor

from vlp_core.identity import key_of

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as the signed number that an int64 holds
_MIX = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_BITS = 24  # that a float32 holds exactly


def uniform(keys: Tensor, purpose: str, count: int) -> Tensor:
    """float32 [B, count] in [0, 1) for the keys int64 [B]: equal keys and purposes, equal numbers, on any device."""
    stream = _mix(keys ^ (key_of(purpose) - 2**63))
    counters = torch.arange(1, count + 1, device=keys.device, dtype=torch.int64) * _GOLDEN
    bits = _mix(stream[:, None] + counters)
    return _shifted(bits, 64 - _BITS).float() / 2**_BITS


def gumbel(keys: Tensor, purpose: str, count: int) -> Tensor:
    """float32 [B, count] of the standard Gumbel distribution: argmax(log p + gumbel) draws from p."""
    smallest = torch.finfo(torch.float32).tiny  # of the numbers below 1 none is so near that its logarithm is 0
    return -torch.log(-torch.log(uniform(keys, purpose, count).clamp(min=smallest)))


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * _MIX[0]
    state = (state ^ _shifted(state, 27)) * _MIX[1]
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, by: int) -> Tensor:
    """A shift to the right that brings zeros in, which torch has for unsigned numbers alone."""
    return (state >> by) & (2 ** (64 - by) - 1)
