"""The second look: copies that hash and colours do not show, for they were cropped, mirrored or written over.

Pairs are those of `near` (hash and colours agree, none missed), and those whose small descriptors are neighbours and
whose thumbnails agree once one is laid over the other. The latter are looked for, not enumerated: of 16,384 pictures or
fewer nearly all are found, of more those that share a leaf (`neighbours`).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlp_core.curation import near as by_hash
from vlp_core.curation.hashes import COLOUR_BYTES, GREY_BYTES
from vlp_core.curation.near import Rows
from vlp_core.curation.neighbours import HALVES, Found, candidates, candidates_within, descriptors
from vlp_core.curation.settings import Near

_COSINE = 0.85  # of descriptors: 99 of 100 photos that lost a twentieth at each side are nearer to what they were
_CHUNK = 2**20
_THREADS = 2


@dataclass(frozen=True)
class Looks(by_hash.Looks):
    """What pictures look like, with grey thumbnails uint8 [N, 256]."""

    grey: NDArray[np.uint8]

    @classmethod
    def empty(cls, count: int) -> "Looks":
        """Room for so many."""
        colour, grey = (np.empty((count, width), np.uint8) for width in (COLOUR_BYTES, GREY_BYTES))
        return cls(np.empty(count, np.uint64), colour, grey)

    def put(self, start: int, some: "Looks") -> None:
        """Fill in those from `start` on."""
        for mine, theirs in ((self.phash, some.phash), (self.colour, some.colour), (self.grey, some.grey)):
            mine[start : start + len(some)] = theirs

    def take(self, rows: Rows) -> "Looks":
        return Looks(self.phash[rows], self.colour[rows], self.grey[rows])


def looks_of(hashes: pa.Table) -> Looks:
    """What the pictures of HASHES look like."""
    colour, grey = _bytes(hashes["colour"], COLOUR_BYTES), _bytes(hashes["grey"], GREY_BYTES)
    return Looks(hashes["phash"].to_numpy(), colour, grey)


def pairs(looks: Looks, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """All pairs i < j of copies, in chunks of two arrays in a fixed order; a pair comes once.

    Of a picture's copies that `near.within` does not know, those nearest are found where there are hundreds.
    """
    yield from by_hash.within(looks, near)
    yield from _alike(looks, looks, near, later=True)


def between(looks: Looks, others: Looks, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """All pairs (row of `looks`, row of `others`) of copies, as `pairs` gives them."""
    yield from by_hash.between(looks, others, near)
    yield from _alike(looks, others, near, later=False)


def _alike(looks: Looks, others: Looks, near: Near, *, later: bool) -> Iterator[tuple[Rows, Rows]]:
    """What agrees when one is laid over the other, and is not near by hash and colour."""
    if near.alike >= 1 or not len(looks) or not len(others):
        return
    keys = [np.empty(0, np.int64)]
    for half in HALVES:
        mine = descriptors(looks.grey, half)
        met = candidates_within(mine, _COSINE) if later else candidates(mine, descriptors(others.grey, half), _COSINE)
        for left, right, mirrored in _gathered(met):
            new = ~by_hash.are_near(looks, others, left, right, near)  # sooner told than what agrees
            left, right, mirrored = left[new], right[new], mirrored[new]
            found = _agreeing(looks, others, left, right, mirrored, near)
            keys.append(np.unique(left[found] * len(others) + right[found]))
    key = np.unique(np.concatenate(keys))
    for start in range(0, len(key), _CHUNK):
        left, right = np.divmod(key[start : start + _CHUNK], len(others))
        yield left, right


def _gathered(chunks: Iterator[Found]) -> Iterator[Found]:
    """Fewer and larger chunks."""
    held: list[Found] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk[0])
        if count >= _CHUNK:
            yield tuple(map(np.concatenate, zip(*held, strict=True)))  # type: ignore[misc]
            held, count = [], 0
    if count:
        yield tuple(map(np.concatenate, zip(*held, strict=True)))  # type: ignore[misc]


def _agreeing(
    looks: Looks, others: Looks, left: Rows, right: Rows, mirrored: NDArray[np.bool_], near: Near
) -> NDArray[np.bool_]:
    from vlp_core.curation.agreement import agree

    def part(rows: Rows) -> NDArray[np.bool_]:
        return agree(
            looks.grey,
            others.grey,
            looks.colour,
            others.colour,
            left[rows],
            right[rows],
            mirrored[rows],
            near.alike,
            near.colour,
        )

    with ThreadPoolExecutor(_THREADS) as threads:
        return np.concatenate(list(threads.map(part, np.array_split(np.arange(len(left)), _THREADS))))


def _bytes(column: pa.ChunkedArray, width: int) -> NDArray[np.uint8]:
    """A column of binaries of one width -> uint8 [N, width]; a copy of no row where it is one chunk."""
    parts = [
        np.frombuffer(chunk.buffers()[-1], np.uint8).reshape(-1, width)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.cast(pa.binary(width)).chunks
        if len(chunk)
    ]
    if not parts:
        return np.empty((0, width), np.uint8)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
