"""What a page draws of values, thresholds and drift."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.quantities import NUMBER, QUANTITIES
from vlp_core.curation.rules import Rule
from vlp_core.report import svg
from vlp_core.report.bins import bins_of, one_value, short
from vlp_core.report.drift import Shift
from vlp_core.report.page import BarRow, Plot, Row, ShiftView, Sweep
from vlp_core.report.sample import Sample
from vlp_core.report.standing import WhatIf

_BARS = 12
_POINTS = 80


def values_plot(sample: Sample, quantity: str, rules: Sequence[Rule], scale: float) -> Plot | None:
    """How a quantity lies among what was fetched and what is selected; None where nothing is known of it."""
    every = sample.every(quantity)
    chosen = sample.chosen(quantity)
    about = QUANTITIES[quantity].about
    if not len(every):
        return None
    if QUANTITIES[quantity].words is not NUMBER:
        return Plot(quantity, about, "", bars=_words(every, chosen, scale))
    single = one_value(every)
    if single is not None:
        return Plot(quantity, about, f"{single}.")
    bins = bins_of(every)
    series = [
        svg.Series("fetched", "light", np.rint(bins.counts(every) * scale)),
        svg.Series("selected", "dark", np.rint(bins.counts(chosen) * scale)),
    ]
    marks = [(float(rule.value), str(rule)) for rule in rules if rule.quantity == quantity]
    low, middle, high = (short(value) for value in np.quantile(every.astype(np.float64), [0.05, 0.5, 0.95]))
    said = f"Median {middle}, 90 % from {low} to {high}"
    said += f"; selected: median {short(float(np.median(chosen.astype(np.float64))))}" if len(chosen) else ""
    return Plot(quantity, about, said, drawing=svg.histogram(bins, series, marks))


def _words(every: NDArray[np.generic], chosen: NDArray[np.generic], scale: float) -> list[BarRow]:
    names, counts = np.unique(every.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_BARS]
    kept = [int((chosen.astype(str) == names[place]).sum()) for place in order]
    most = counts.max()
    return [
        BarRow(
            str(names[at]),
            100 * counts[at] / most,
            100 * left / most,
            f"{counts[at] * scale:,.0f} → {left * scale:,.0f}",
        )
        for at, left in zip(order, kept, strict=True)
    ]


def hosts_bars(names: Sequence[str], every: Sequence[int], chosen: Sequence[int]) -> list[BarRow]:
    most = max(every, default=1)
    return [
        BarRow(name, 100 * one / most, 100 * left / most, f"{one:,} → {left:,}")
        for name, one, left in zip(names, every, chosen, strict=True)
    ]


def sweep_view(found: WhatIf, scale: float, passing: int) -> Sweep:
    """A table of other values and, of numbers, the curve; `passing` pictures pass as things are."""
    about = QUANTITIES[found.quantity].about

    def row(label: str, kept: int, now: bool) -> Row:
        change = kept - passing
        told = "" if not passing or now else f"{100 * change / passing:+.1f} %"
        return Row(label, round(kept * scale), told, now)

    if found.words:
        rows = [row(word, kept, word == found.now) for word, kept in found.words]
        return Sweep(
            found.quantity, about, f"{found.quantity}{found.comparison}", [*rows, row("any", found.everyone, False)]
        )
    if not len(found.best):
        return Sweep(found.quantity, about, found.quantity, [])
    values = found.round_values()
    rows = [row(f"{found.comparison} {short(value)}", found.kept(value), value == found.now) for value in values]
    marks = [] if found.now is None else [(float(found.now), f"{found.comparison}{short(float(found.now))}")]
    table = [*rows, row("any", found.everyone, False)]
    single = one_value(found.best)
    if single is not None:
        return Sweep(found.quantity, about, found.quantity, table, said=f"{single}.")
    bins = bins_of(np.array([*found.best, *(value for value, _ in marks)]), number=8)
    # What the table tells, the threshold above all, lies on the curve: between its points it would be guessed.
    at = np.union1d(np.quantile(found.best, np.linspace(0, 1, _POINTS), method="nearest"), values)
    drawing = svg.curve(bins, at, np.array([found.kept(value) for value in at]) * scale, marks)
    return Sweep(found.quantity, about, found.quantity, table, drawing)


def shift_view(shift: Shift) -> ShiftView:
    middle = "median" if shift.bins is not None else "mostly"
    if shift.bins is None:
        most = max(float(one.max()) for one in shift.shares) or 1.0
        bars = [
            BarRow(word, 100 * there / most, 100 * here / most, f"{here:.1%}, there {there:.1%}")
            for word, here, there in zip(shift.words, *shift.shares, strict=True)
        ]
        return ShiftView(shift.quantity, shift.distance, middle, shift.middles, bars=bars)
    if shift.single is not None:
        return ShiftView(shift.quantity, shift.distance, middle, shift.middles, said=f"{shift.single}, here and there.")
    series = [
        svg.Series("here, in %", "dark", 100 * shift.shares[0]),
        svg.Series("there, in %", "line", 100 * shift.shares[1]),
    ]
    drawing = svg.histogram(shift.bins, series)
    return ShiftView(shift.quantity, shift.distance, middle, shift.middles, drawing=drawing)
