"""Sequences of states: what encoders make, and what fusion makes of two of them.

Named tuples, because DeepSpeed finds the tensors in those: under ZeRO-3 it brings a module's weights back for the
backward pass by what the module gave.
"""

from typing import NamedTuple

from torch import Tensor


class Sequence(NamedTuple):
    """N states a sample.

    states  float [B, N, D]
    mask    bool [B, N], True where there is something; None where all of it is
    whole   float [B, D], the state of the whole; None where it is the first of the states
    before  how many states come first that are of no place: 0 in the grid of a CNN or a Swin, which has no state of
            the whole either
    """

    states: Tensor
    mask: Tensor | None = None
    whole: Tensor | None = None
    before: int = 1

    @property
    def first(self) -> Tensor:
        """The state of the whole [B, D], or what stands for it."""
        return self.summary(self.states) if self.whole is None else self.whole

    def summary(self, states: Tensor) -> Tensor:
        """One state a sample [B, D] out of `states` [B, N, D] that were made of these: the first of them, or the mean
        over all places where none is of the whole."""
        if self.before:
            return states[:, 0]
        if self.mask is None:
            return states.mean(dim=1)
        there = self.mask[:, :, None].to(states.dtype)
        return (states * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)

    def rows(self, index: Tensor) -> "Sequence":
        """The sequences at these rows of the batch."""
        mask, whole = (None if part is None else part[index] for part in (self.mask, self.whole))
        return self._replace(states=self.states[index], mask=mask, whole=whole)


class Fused(NamedTuple):
    """What a fusion makes of M pairs, or of one modality alone.

    text    float [M, L, D] or None
    image   float [M, N, D] or None
    pooled  float [M, P] or None: one state a pair, for what is asked of it as a whole
    """

    text: Tensor | None = None
    image: Tensor | None = None
    pooled: Tensor | None = None
    text_mask: Tensor | None = None
    image_mask: Tensor | None = None
