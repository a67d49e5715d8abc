"""Which pictures of a sample are shown of a rule: some at random, and those nearest to its threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.quantities import of_captions
from vlp_core.curation.rules import Rule
from vlp_core.report.sample import Bools, Sample

_MOST_CAPTIONS = 2


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture with the captions that are shown of it, and what each, or the picture, has of a quantity."""

    uid: str
    url: str
    captions: tuple[str, ...]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Of a rule: pictures it took, drawn evenly; those it took by least; those that pass it by least."""

    took: tuple[Example, ...]
    barely: tuple[Example, ...] = ()
    nearly: tuple[Example, ...] = ()


def examples_of(sample: Sample, rule: Rule, placed: Rule, number: int) -> Examples:
    """Up to `number` of each kind; where there are no more, `took` has them all."""
    order = np.argsort(sample.uids.to_numpy(zero_copy_only=False), kind="stable")  # uids are hashes: a fixed shuffle
    fell = pc.fill_null(pc.equal(sample.rule, str(rule)), False).to_numpy(zero_copy_only=False)
    took = order[fell[order]]
    some = tuple(told(sample, row, rule.quantity) for row in took[:number])
    if not isinstance(placed.value, float) or rule.comparison in ("=", "!="):
        return Examples(took=some)

    def nearest(among: Bools) -> tuple[Example, ...]:
        return tuple(told(sample, row, rule.quantity) for row in _nearest(sample, placed, among, number))

    passed = pc.is_null(sample.rule).to_numpy(zero_copy_only=False)
    return Examples(took=some, barely=nearest(fell) if len(took) > number else (), nearly=nearest(passed))


def _nearest(sample: Sample, rule: Rule, among: Bools, number: int) -> NDArray[np.int64]:
    """The pictures whose own, or whose captions' best, value lies nearest to the threshold."""
    values = sample.values_of(rule.quantity).astype(np.float64)
    far = np.nan_to_num(np.abs(values - float(rule.value)), nan=np.inf)
    if rule.of_captions:
        nearest = np.full(len(sample), np.inf)
        np.minimum.at(nearest, sample.owner, far)
        far = nearest
    rows = np.flatnonzero(among & np.isfinite(far))
    return rows[np.argsort(far[rows], kind="stable")][:number]


def told(sample: Sample, row: int, quantity: str | None = None) -> Example:
    """A picture of the sample, with its values of a quantity."""
    low, high = sample.starts[row], sample.starts[row + 1]
    captions = tuple(sample.texts[int(at)].as_py() or "" for at in range(low, min(high, low + _MOST_CAPTIONS)))
    values: tuple[str, ...] = ()
    if quantity is not None:
        found = sample.values_of(quantity)
        places: Sequence[int] = range(low, low + len(captions)) if of_captions(quantity) else [row]
        values = tuple(written(found[at]) for at in places)
    picture = sample.pictures
    return Example(
        uid=sample.uids[int(row)].as_py(), url=picture["url"][int(row)].as_py() or "", captions=captions, values=values
    )


def written(value: object) -> str:
    """A value as a person reads it."""
    if value is None or value != value:
        return "not known"
    return str(value) if isinstance(value, str) else f"{float(value):.4g}"  # type: ignore[arg-type]
