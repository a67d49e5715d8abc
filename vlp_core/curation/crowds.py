"""All pairs of near looks, as a list that can be kept.

A picture that a site shows in ten thousand versions would make fifty million pairs. Where the pairs are too many to
hold, such crowds are found first, in a sample, and taken together: whatever is near to one picture in the middle of a
crowd. Of all others every pair is listed.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.alike import Looks, between
from vlp_core.curation.alike import pairs as pairs_of
from vlp_core.curation.copies import Rows
from vlp_core.curation.settings import Near

Places = NDArray[np.int32]

_MOST_PAIRS = 2**26  # half a gigabyte
_SAMPLE = 2**13  # whose pairs are never too many to hold
_CROWD = 16  # near looks in a sample that make a crowd


def paired(looks_at: Callable[[Rows], Looks], count: int, near: Near) -> tuple[Rows, Places, Places]:
    """(stands [N], left [P], right [P]): the look that stands for each, itself but in a crowd, and all near pairs
    left < right of looks that stand for themselves.

    `looks_at` gives those of ascending numbers below `count`; what it gave is let go before it is asked again.
    """
    stands, free = np.arange(count), np.arange(count)
    sample, looks = _SAMPLE, looks_at(free)
    while True:
        pairs = _held(pairs_of(looks, near), _MOST_PAIRS if sample < len(free) else None)
        if pairs is not None:
            left, right = free.astype(np.int32)[pairs]
            while (stands[stands] != stands).any():  # what stood in one crowd's middle was found in another
                stands = stands[stands]
            return stands, left, right
        stands[free] = free[_gathered(looks, sample, near)]
        free = np.flatnonzero(stands == np.arange(count))
        del looks
        looks = looks_at(free)
        sample *= 8


def _gathered(looks: Looks, sample: int, near: Near) -> Rows:
    """[N]: for each the middle of the crowd it is in, of those that show in an even sample; itself in none."""
    some = np.arange(0, len(looks), -(-len(looks) // sample))
    left, right = _listed(pairs_of(looks.take(some), near))
    middles = some[_middles(left, right, len(some))]
    claimed = np.full(len(looks), len(middles))
    for middle, other in between(looks.take(middles), looks, near):
        np.minimum.at(claimed, other, middle)
    claimed[middles] = np.arange(len(middles))
    return np.where(claimed < len(middles), np.append(middles, 0)[claimed], np.arange(len(looks)))


def _middles(left: Places, right: Places, count: int) -> Rows:
    """The members of a sample that have a crowd around them, the fullest first, none near to another."""
    pairs = np.concatenate([np.stack([left, right]), np.stack([right, left])], axis=1)
    one, other = pairs[:, np.argsort(pairs[0], kind="stable")]
    degree = np.bincount(one, minlength=count)
    starts = np.concatenate([[0], np.cumsum(degree)])
    free = np.ones(count, dtype=bool)
    middles = []
    for row in np.argsort(-degree, kind="stable")[: int((degree >= _CROWD).sum())].tolist():
        around = other[starts[row] : starts[row + 1]]
        if free[row] and free[around].sum() >= _CROWD:
            middles.append(row)
            free[row] = False
            free[around] = False
    return np.array(middles, np.int64)


def _listed(pairs: Iterator[tuple[Rows, Rows]]) -> Places:
    found = _held(pairs, None)
    assert found is not None
    return found


def _held(pairs: Iterator[tuple[Rows, Rows]], most: int | None) -> Places | None:
    """All pairs as int32 [2, P]; None where they are more than `most`."""
    chunks, count = [np.empty((2, 0), np.int32)], 0
    for left, right in pairs:
        count += len(left)
        if most is not None and count > most:
            return None
        chunks.append(np.stack([left, right]).astype(np.int32))
    return np.concatenate(chunks, axis=1)
