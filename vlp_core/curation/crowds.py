"""All pairs of near looks, as a list that can be kept.

A picture that a site shows in ten thousand versions would make fifty million pairs. Where the pairs are too many to
hold, such crowds are taken together: whatever is near to one picture in the middle of a crowd. Of all others every pair
is listed. How many pairs there are, and where the crowds are, is seen in an even sample, whose own crowds are found in
a sample of it, and so on.
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
_FEW = 2**13  # whose pairs are never too many to hold
_EVERY = 16  # of which one is in a sample
_CROWDS = (16, 4, 1)  # near looks in a sample that make a crowd: fewer where too many pairs would be left


def paired(looks_at: Callable[[Rows], Looks], count: int, near: Near) -> tuple[Rows, Places, Places]:
    """(stands [N], left [P], right [P]): the look that stands for each, itself but in a crowd, and all near pairs
    left < right of looks that stand for themselves.

    `looks_at` gives those of ascending numbers below `count`; what it gave is let go before it is asked again.
    """
    return _paired(looks_at, count, near, _MOST_PAIRS)


def _paired(looks_at: Callable[[Rows], Looks], count: int, near: Near, most: float) -> tuple[Rows, Places, Places]:
    """As `paired`, with crowds where there are more than `most` pairs."""
    stands, free = np.arange(count), np.arange(count)
    looks = looks_at(free)
    if count > _FEW:
        stands = _gathered(looks, _middles(looks, near, most), near)
        if len(free := np.flatnonzero(stands == free)) < count:
            del looks
            looks = looks_at(free)
    left, right = free.astype(np.int32)[_listed(pairs_of(looks, near))]
    return stands, left, right


def _middles(looks: Looks, near: Near, most: float) -> Rows:
    """Those in the middle of crowds, none near to another; none where there are no more than `most` pairs."""
    some, most = np.arange(0, len(looks), _EVERY), most / _EVERY**2
    sample = looks.take(some)
    stands, left, right = _paired(sample.take, len(some), near, most)
    around = np.flatnonzero(stands != np.arange(len(some)))
    crowds = np.bincount(stands).astype(np.float64)
    if len(left) + (crowds * (crowds - 1)).sum() / 2 <= most:
        return some[:0]
    left, right = (np.append(*ends).astype(np.int32) for ends in ((left, stands[around]), (right, around)))
    for least in _CROWDS:
        middles, free = _crowds(left, right, len(some), least)
        if (free[left] & free[right]).sum() <= most:
            break
    return some[middles]


def _crowds(left: Places, right: Places, count: int, least: int) -> tuple[Rows, NDArray[np.bool_]]:
    """The rows that have so many unclaimed ones around them, the fullest first, which claim them; and who is free."""
    pairs = np.concatenate([np.stack([left, right]), np.stack([right, left])], axis=1)
    one, other = pairs[:, np.argsort(pairs[0], kind="stable")]
    degree = np.bincount(one, minlength=count)
    starts = np.concatenate([[0], np.cumsum(degree)])
    free = np.ones(count, dtype=bool)
    middles = []
    for row in np.argsort(-degree, kind="stable")[: int((degree >= least).sum())].tolist():
        around = other[starts[row] : starts[row + 1]]
        if free[row] and free[around].sum() >= least:
            middles.append(row)
            free[row] = False
            free[around] = False
    return np.array(middles, np.int64), free


def _gathered(looks: Looks, middles: Rows, near: Near) -> Rows:
    """[N]: for each the middle of the first crowd it is in, itself in none."""
    rows = np.arange(len(looks))
    if not len(middles):
        return rows
    claimed = np.full(len(looks), len(middles))
    for middle, other in between(looks.take(middles), looks, near):
        np.minimum.at(claimed, other, middle)
    claimed[middles] = np.arange(len(middles))
    return np.where(claimed < len(middles), np.append(middles, 0)[claimed], rows)


def _listed(pairs: Iterator[tuple[Rows, Rows]]) -> Places:
    """All pairs as int32 [2, P]."""
    chunks = [np.empty((2, 0), np.int32), *(np.stack(pair).astype(np.int32) for pair in pairs)]
    return np.concatenate(chunks, axis=1)
