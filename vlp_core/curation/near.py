"""All pairs of near pictures, none missed, without comparing all with all.

Two hashes that differ in at most b bits agree wholly in one of b + 1 bands of their bits (pigeonhole principle), so
that only pairs which share a band, and whose colours agree in sum, are compared; a pair is reported at the first band
that it shares. Large buckets are cut up, and nothing of the size of all pairs is ever held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlp_core.curation.hashes import colour_distance, hamming, signatures
from vlp_core.curation.settings import Near

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_CHUNK = 2**21  # pairs compared at a time
_SPAN = 2**18  # above twice the largest sum of a colour signature (192 · 255): buckets never reach into one another


@dataclass(frozen=True)
class Looks:
    """What pictures look like: perceptual hashes uint64 [N] and colour signatures uint8 [N, 192]."""

    phash: Hashes
    colour: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.phash)

    def take(self, rows: Rows) -> "Looks":
        return Looks(self.phash[rows], self.colour[rows])


def looks_of(hashes: pa.Table) -> Looks:
    """What the pictures of HASHES look like."""
    return Looks(hashes["phash"].to_numpy(), signatures(hashes["colour"].to_pylist()))


def within(looks: Looks, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """All pairs i < j of near pictures, in chunks of two arrays; a pair comes once."""
    for left, right in between(looks, looks, near, later=True):
        yield np.minimum(left, right), np.maximum(left, right)


def between(looks: Looks, others: Looks, near: Near, *, later: bool = False) -> Iterator[tuple[Rows, Rows]]:
    """All pairs (row of `looks`, row of `others`) of near pictures, in chunks of two arrays; a pair comes once.

    With `later`, both are the same and a row meets only those behind it in its bucket.
    """
    reach = min(int(near.colour * looks.colour.shape[1]), _SPAN // 2)
    sums, other_sums = _sums(looks), _sums(others)
    for band, mask in enumerate(masks := _bands(near.bits)):
        buckets, bucket = np.unique(others.phash & mask, return_inverse=True)
        place = bucket * _SPAN + other_sums
        order = np.argsort(place, kind="stable")
        place = place[order]
        if later:
            rows, starts, wanted = order, np.arange(1, len(order) + 1), place
        else:
            rows, found = _rows_in(looks.phash & mask, buckets)
            wanted = found * _SPAN + sums[rows]
            starts = np.searchsorted(place, wanted - reach, "left")
        ends = np.searchsorted(place, wanted + reach, "right")
        for left, right in _expanded(starts, ends):
            first, second = rows[left], order[right]
            kept = _near(looks, others, first, second, near, masks[:band])
            yield first[kept], second[kept]


def _sums(looks: Looks) -> Rows:
    """A sum differs by no more than the summed differences: what is far in it need not be compared."""
    return looks.colour.sum(axis=1, dtype=np.int64)


def _rows_in(keys: Hashes, buckets: Hashes) -> tuple[Rows, Rows]:
    """The rows whose key is among the sorted buckets, and which one it is."""
    at = np.searchsorted(buckets, keys)
    rows = np.flatnonzero(np.append(buckets, 0)[at] == keys)
    rows = rows[at[rows] < len(buckets)]
    return rows, at[rows]


def _bands(bits: int) -> list[np.uint64]:
    """Masks of bits + 1 disjoint runs that cover all 64 bits."""
    edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
    return [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]


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


def _near(looks: Looks, others: Looks, left: Rows, right: Rows, near: Near, earlier: list[np.uint64]) -> Rows:
    """Which of these pairs are near and share no earlier band, as positions."""
    first, second = looks.phash[left], others.phash[right]
    at = np.flatnonzero(hamming(first, second) <= near.bits)
    for mask in earlier:
        at = at[((first[at] ^ second[at]) & mask) != 0]
    if not len(at):
        return at
    parts = np.array_split(at, -(-len(at) * looks.colour.shape[1] // (32 * _CHUNK)))
    close = [colour_distance(looks.colour[left[part]], others.colour[right[part]]) <= near.colour for part in parts]
    return at[np.concatenate(close)]
