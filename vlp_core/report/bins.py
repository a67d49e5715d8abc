"""Bins that show how values lie, whatever they are: whole numbers, shares, or sizes over decades."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]

_MOST_WHOLE = 40
_DECADES_FROM = 30.0  # a spread beyond this factor is drawn on a logarithmic axis


@dataclass(frozen=True)
class Bins:
    """Edges [B + 1], rising; what lies beyond the ends (`beyond`: above) is counted in the bins at the ends."""

    edges: Numbers
    log: bool = False
    whole: bool = False
    beyond: bool = False

    def __len__(self) -> int:
        return len(self.edges) - 1

    def counts(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        """How many of the values each bin holds, [B]."""
        inside = np.clip(values.astype(np.float64), self.edges[0], self.edges[-1])
        return np.histogram(inside, self.edges)[0]

    def label(self, number: int) -> str:
        """What a bin holds, in words."""
        low, high = self.edges[number], self.edges[number + 1]
        if self.whole:
            end = " and more" if self.beyond and number == len(self) - 1 else ""
            return f"{low + 0.5:.0f}{end}"
        return f"{short(low)} to {short(high)}"

    def at(self, values: Numbers) -> Numbers:
        """Where values lie on the axis, 0 to 1."""
        ends = self.edges[[0, -1]]
        if self.log:
            values, ends = np.log(np.maximum(values, ends[0])), np.log(ends)
        return np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)

    def ticks(self) -> list[float]:
        """A few round values of the axis."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        if self.log:
            return _decades(low, high)
        step = _round_step((high - low) / 4)
        first = np.ceil(low / step)
        return [float(n * step) for n in np.arange(first, np.floor(high / step) + 1)]


def bins_of(values: NDArray[np.generic], number: int = 32) -> Bins:
    """Bins for these values (all known): from their 0.5 to their 99.5 percentile."""
    found = values.astype(np.float64)
    if not len(found):
        return Bins(np.array([0.0, 1.0]))
    low, high = np.quantile(found, [0.005, 0.995])
    if bool((found == np.rint(found)).all()) and high - found.min() <= _MOST_WHOLE:
        edges = np.arange(found.min(), np.ceil(high) + 2) - 0.5
        return Bins(edges, whole=True, beyond=bool(found.max() > edges[-1]))
    if low > 0 and high / low > _DECADES_FROM:
        return Bins(np.geomspace(low, high, number + 1), log=True)
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return Bins(np.linspace(low, high, number + 1))


def one_value(values: NDArray[np.generic]) -> str | None:
    """What is said in place of a drawing of values (all known) that are nearly all the same; None of others."""
    found = values.astype(np.float64)
    if not len(found):
        return None
    low, high = np.quantile(found, [0.005, 0.995])
    if low < high:
        return None
    others = found[found != low]
    if not len(others):
        return f"All are {short(low)}"
    share = np.floor(1000 * (1 - len(others) / len(found))) / 10  # never 100 %
    ends = [short(others.min()), short(others.max())]
    return f"{share:.1f} % are {short(low)}, the others {ends[0] if ends[0] == ends[1] else f'{ends[0]} to {ends[1]}'}"


def short(value: float) -> str:
    """A number in few characters: 1,200 or 12 k, 0.28."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"


def _decades(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    return ticks[:: max(1, len(ticks) // 5)]


def _round_step(step: float) -> float:
    size = 10.0 ** np.floor(np.log10(step))
    return float(next(size * factor for factor in (1, 2, 5, 10) if size * factor >= step))
