"""Which rules each picture fails, whatever their order: what a rule takes alone, and what another threshold would."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.quantities import NUMBER, QUANTITIES, of_captions
from vlp_core.curation.rules import Rule
from vlp_core.report.bins import Numbers
from vlp_core.report.sample import Bools, Sample

_MOST_WORDS = 10


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """How many pictures pass all rules if this quantity is asked for another value.

    now       the value that is asked for, None where none is
    everyone  the pictures that pass where nothing is asked of it
    best      of a number: the value of each of these that passes most easily, rising
    words     of a word: each with the pictures that it would let in
    """

    quantity: str
    comparison: str
    now: float | str | None
    everyone: int
    best: Numbers
    words: tuple[tuple[str, int], ...] = ()

    def kept(self, value: float) -> int:
        """The pictures that pass where this number is asked for."""
        below, upto = (int(np.searchsorted(self.best, value, side)) for side in ("left", "right"))
        passing = {">=": len(self.best) - below, ">": len(self.best) - upto, "<": below, "<=": upto, "=": upto - below}
        return passing.get(self.comparison, len(self.best) - (upto - below))

    def round_values(self, number: int = 8) -> list[float]:
        """A few numbers worth telling, spread over the pictures, and the one that is asked for."""
        if not len(self.best):
            return []
        told = {float(f"{value:.2g}") for value in np.quantile(self.best, np.linspace(0.02, 0.98, number))}
        return sorted(told | ({float(self.now)} if isinstance(self.now, float) else set()))


class Standing:
    """How often each picture and caption of a sample fails; rules have their places (no `top30%`)."""

    def __init__(self, sample: Sample, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._sample = sample
        self._fails = [~np.asarray(rule.passes(sample.values_of(rule.quantity)), bool) for rule in rules]
        self._count = np.zeros(len(sample.owner), np.int16)
        for number in range(len(rules)):
            self._count += self._of_captions(number)

    def _of_captions(self, number: int) -> Bools:
        """The captions that fail a rule, by themselves or with their picture."""
        fails = self._fails[number]
        return fails if self.rules[number].of_captions else fails[self._sample.owner]

    def _pictures(self, captions: Bools) -> Bools:
        """The pictures that have one of these captions."""
        found = np.zeros(len(self._sample), bool)
        found[self._sample.owner[captions]] = True
        return found

    @property
    def captions(self) -> Bools:
        """The captions that pass all rules, with their pictures."""
        return self._count == 0

    @property
    def passing(self) -> int:
        return int(self._pictures(self.captions).sum())

    def alone(self, number: int) -> int:
        """Pictures that a rule rejects if it is the only one."""
        return len(self._sample) - int(self._pictures(~self._of_captions(number)).sum())

    def only(self, number: int) -> int:
        """Pictures that would pass if it were not for this rule."""
        return int(self._pictures(self._count - self._of_captions(number) == 0).sum()) - self.passing

    def what_if(self, number: int) -> WhatIf:
        """Other values for a rule, the other rules as they are."""
        rule = self.rules[number]
        return self._swept(rule.quantity, rule.comparison, rule.value, self._count - self._of_captions(number) == 0)

    def added(self, quantity: str) -> WhatIf:
        """A rule more, over this quantity."""
        shown = QUANTITIES[quantity].example.rstrip("0123456789.")
        comparison = "=" if QUANTITIES[quantity].words is not NUMBER else shown
        return self._swept(quantity, comparison, None, self.captions)

    def _swept(self, quantity: str, comparison: str, now: float | str | None, standing: Bools) -> WhatIf:
        owner = self._sample.owner[standing]
        values = self._sample.values_of(quantity)
        values = values[standing] if of_captions(quantity) else values[owner]
        number = QUANTITIES[quantity].words is NUMBER
        return WhatIf(
            quantity=quantity,
            comparison=comparison,
            now=now,
            everyone=len(np.unique(owner)),
            best=np.sort(_best(values, owner, highest=comparison.startswith(">"))) if number else np.empty(0),
            words=() if number else _by_word(values, owner),
        )


def _best(values: NDArray[np.generic], owner: NDArray[np.int64], *, highest: bool) -> Numbers:
    """Of each picture the value that passes most easily; `owner` [captions] rises."""
    numbers = values.astype(np.float64)
    numbers, owner = numbers[~np.isnan(numbers)], owner[~np.isnan(numbers)]
    if not len(owner):
        return np.empty(0)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return (np.maximum if highest else np.minimum).reduceat(numbers, starts)


def _by_word(values: NDArray[np.generic], owner: NDArray[np.int64]) -> tuple[tuple[str, int], ...]:
    """The commonest words, each with how many pictures have it."""
    words = np.array(["" if value is None else value for value in values], dtype=str)
    names, codes = np.unique(words, return_inverse=True)
    pairs = np.unique(np.stack([owner, codes]), axis=1) if len(codes) else np.empty((2, 0), np.int64)
    counts = np.bincount(pairs[1], minlength=len(names))
    order = np.argsort(-counts, kind="stable")[:_MOST_WORDS]
    return tuple((str(names[place]) or "not known", int(counts[place])) for place in order)
