"""All pairs of near pictures, none missed, without comparing all with all.

Two pictures are near if their hashes differ in few bits (`hamming`) and their colours agree. Equal hashes are merged
before hashes are compared. Among pictures of one hash, and of two hashes that are near, those whose colours differ too
much in sum are passed over, and nothing of the size of all pairs is ever held.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation import hamming
from vlp_core.curation.hamming import Hashes, Rows
from vlp_core.curation.hashes import COLOUR_BYTES
from vlp_core.curation.hashes import hamming as distance
from vlp_core.curation.settings import Near

_CHUNK = 2**21  # pairs compared at a time
_SPAN = 2**18  # above twice the largest sum of a colour signature (192 · 255): groups never reach into one another
_MANY = 16  # pictures of one hash: fewer are sooner compared than looked up


@dataclass(frozen=True)
class Looks:
    """What pictures look like: perceptual hashes uint64 [N] and colour signatures uint8 [N, 192]."""

    phash: Hashes
    colour: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.phash)

    def take(self, rows: Rows) -> "Looks":
        return Looks(self.phash[rows], self.colour[rows])


def within(looks: Looks, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """All pairs i < j of near pictures, in chunks of two arrays; a pair comes once, equal looks give equal chunks."""
    groups = _grouped(looks)
    for left, right in _within(groups, near):
        close = _close(looks, looks, left, right, near)
        yield np.minimum(left, right)[close], np.maximum(left, right)[close]


def between(looks: Looks, others: Looks, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """All pairs (row of `looks`, row of `others`) of near pictures, as `within` gives them."""
    mine, theirs = _grouped(looks), _grouped(others)
    for ours, other in hamming.between(mine.hashes, theirs.hashes, near.bits):
        for left, right in _members(mine, ours, theirs, other, _reach(near)):
            close = _close(looks, others, left, right, near)
            yield left[close], right[close]


def are_near(looks: Looks, others: Looks, left: Rows, right: Rows, near: Near) -> NDArray[np.bool_]:
    """Whether the pictures of each pair (row of `looks`, row of `others`) are near."""
    found = distance(looks.phash[left], others.phash[right]) <= near.bits
    found[found] = _close(looks, others, left[found], right[found], near)
    return found


@dataclass(frozen=True)
class _Groups:
    """Pictures by hash, and those of one hash by the sum of their colours."""

    hashes: Hashes  # [G], distinct
    rows: Rows  # [N] in that order
    places: Rows  # [N] sorted: number of the group · _SPAN + sum; sums differ by no more than the summed differences
    starts: Rows  # [G + 1] where each group begins

    def inside(self, groups: Rows, sums: Rows, reach: int) -> tuple[Rows, Rows]:
        """Where those of each group begin and end whose sum lies within reach of this one; of few all."""
        starts, ends = self.starts[groups], self.starts[groups + 1]
        many = np.flatnonzero(ends - starts > _MANY)
        wanted = groups[many] * _SPAN + sums[many]
        starts[many] = np.searchsorted(self.places, wanted - reach, "left")
        ends[many] = np.searchsorted(self.places, wanted + reach, "right")
        return starts, ends


def _grouped(looks: Looks) -> _Groups:
    rows = np.argsort(looks.phash, kind="stable")
    hashes = looks.phash[rows]
    first = np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]
    places = (np.cumsum(first) - 1) * _SPAN + looks.colour.sum(axis=1, dtype=np.int64)[rows]
    order = np.argsort(places, kind="stable")
    starts = np.append(np.flatnonzero(first), len(rows))
    return _Groups(hashes[first], rows[order], places[order], starts)


def _reach(near: Near) -> int:
    return min(int(near.colour * COLOUR_BYTES), _SPAN // 2)


def _within(groups: _Groups, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """Rows of pictures of one hash, then of two, whose colours may agree."""
    several = np.flatnonzero(np.diff(groups.starts) > 1)
    for _, first in _expanded(groups.starts[several], groups.starts[several + 1]):
        ends = np.searchsorted(groups.places, groups.places[first] + _reach(near), "right")
        for at, second in _expanded(first + 1, ends):
            yield groups.rows[first[at]], groups.rows[second]
    for one, other in hamming.within(groups.hashes, near.bits):
        yield from _members(groups, one, groups, other, _reach(near))


def _members(mine: _Groups, ours: Rows, theirs: _Groups, other: Rows, reach: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows of each pair of a picture of ours[i] and one of other[i] whose colours may agree."""
    for pair, first in _expanded(mine.starts[ours], mine.starts[ours + 1]):
        for at, second in _expanded(*theirs.inside(other[pair], mine.places[first] % _SPAN, reach)):
            yield mine.rows[first[at]], theirs.rows[second]


def _expanded(starts: Rows, ends: Rows) -> Iterator[tuple[Rows, Rows]]:
    """(row, each position of starts[row]:ends[row]) for all rows, a chunk of whole rows at a time."""
    counts = np.maximum(ends - starts, 0)
    total = np.cumsum(counts)
    low = 0
    while low < len(counts):
        done = total[low] - counts[low]
        high = max(low + 1, int(np.searchsorted(total, done + _CHUNK, side="right")))
        inside = counts[low:high]
        rows = np.repeat(np.arange(low, high), inside)
        if len(rows):
            yield rows, np.arange(len(rows)) + (starts[low:high] - (total[low:high] - inside - done))[rows - low]
        low = high


def _close(looks: Looks, others: Looks, left: Rows, right: Rows, near: Near) -> NDArray[np.bool_]:
    """Whether the colours of each pair agree."""
    from vlp_core.curation.near_colours import close

    return close(looks.colour, others.colour, left, right, near.colour)
