"""Captions that a system writes, by a strategy: greedy, beam search or nucleus sampling."""

from torch import Tensor

from vlp_core.generate.strategies import Beam, Greedy, Nucleus, Strategy
from vlp_core.generate.writer import Writer
from vlp_core.nn.evaluating import evaluating
from vlp_core.system import System

__all__ = ["Beam", "Greedy", "Nucleus", "Writer", "generate"]


def generate(
    system: System,
    pixels: Tensor,
    *,
    strategy: Strategy | None = None,
    longest: int | None = None,
    cached: bool = True,
) -> Tensor:
    """Write a caption for each picture, with the head that the system's Captioning objective trains.

    Args:
        pixels: uint8 [B, 3, H, W].
        strategy: how tokens are chosen; `Beam(width=3)` if it is not given.
        longest: tokens of the longest caption, with its start and end; the vocabulary's longest if it is not given.
        cached: keep the keys and values of what is written; without, every step reads the whole text again.

    Returns:
        int64 [B, L]: start, words, end, padding, as a tokenizer gives texts. L is that of the longest that was written.

    Raises UserError for a system that writes nothing, and for a `longest` out of bounds.
    """
    with evaluating(system):
        return (strategy or Beam()).write(Writer(system, pixels, longest=longest, cached=cached))
