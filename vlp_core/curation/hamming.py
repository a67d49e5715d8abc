"""All pairs of 64-bit hashes that differ in few bits, none missed, on two cores.

The bits are laid out in k + 4 blocks. Two hashes that differ in at most k bits agree wholly in four of them at least
(pigeonhole principle), and are met once: under the first blocks in which they agree, one after the other. A bucket of
hashes that agree in some blocks is compared pair by pair if it is small, and else grouped by each further block: so
depth follows the density of the data. Norouzi, Punjani and Fleet, Fast Exact Search in Hamming Space with Multi-Index
Hashing, arXiv:1307.2982, section 3, has one level of blocks and looks up neighbours of a query; bits are laid out by
their correlation as in its section 5.

Whatever their number, a hash takes part in 125 groupings at most for k = 4 (5 + 15 + 35 + 70), and in few unless many
are around it: time grows as hashes do, and as the pairs that are found. Hashes should be distinct (merge equal ones
first): no block tells equal ones apart, and c equal ones are c² / 2 pairs. They are fewer than 2³¹.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.bit_blocks import laid_out

if TYPE_CHECKING:
    from vlp_core.curation.hamming_walk import Blocks, Side

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_THREADS = 2
_FURTHER = 4  # blocks more than bits: those in which a pair agrees at least
_LEAST_BLOCKS = 8  # a block has at most 8 bits: 256 buckets
_ROOM = 2**18  # pairs that a walk may find before it waits for who reads them
_WALKS = 64  # into which the buckets of a first block are divided
_AHEAD = 8 * _THREADS  # walks under way or waiting to be read


def within(hashes: Hashes, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """All pairs i < j of `hashes` [N] that differ in at most `bits` bits, once each, in chunks of two arrays.

    Equal input gives equal chunks, however many threads there are. Memory: 24 N bytes and what is found ahead.
    """
    for left, right in _pairs(hashes, None, bits):
        yield np.minimum(left, right), np.maximum(left, right)


def between(hashes: Hashes, others: Hashes, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """All pairs (row of `hashes`, row of `others`) that differ in at most `bits` bits, as `within` gives them."""
    return _pairs(hashes, others, bits)


def _pairs(hashes: Hashes, others: Hashes | None, bits: int) -> Iterator[tuple[Rows, Rows]]:
    from vlp_core.curation.hamming_walk import Blocks, is_leaf

    if len(hashes) == 0 or (others is not None and len(others) == 0):
        return
    order, widths = laid_out(hashes, others, max(bits + _FURTHER, _LEAST_BLOCKS))
    ones = (np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1)
    blocks = Blocks(np.cumsum(widths).astype(np.uint64) - widths.astype(np.uint64), ones)
    one = _side(hashes, order)
    other = one if others is None else _side(others, order)
    rows = len(hashes) + (0 if others is None else len(others))
    pairs = len(hashes) ** 2 // 2 if others is None else len(hashes) * len(others)
    with ThreadPoolExecutor(_THREADS) as pool:
        if is_leaf(pairs, rows, -1, bits, blocks):
            yield from _in_order(pool, iter([_Walk.over_all(one, other, blocks, bits)]))
            return
        for block in range(bits + 1):
            yield from _in_order(pool, _walks(one, other, blocks, bits, block))


def _side(hashes: Hashes, order: Rows) -> "Side":
    """The hashes with bit order[i] at place i, and room to sort them in."""
    from vlp_core.curation.hamming_walk import STEP, Side, arranged

    place = np.empty(64, np.int64)
    place[order] = np.arange(64)
    tables = np.zeros((8, 256), np.uint64)
    for bit in range(64):
        has = (np.arange(256) >> (bit % 8)) & 1 == 1
        tables[bit // 8, has] |= np.uint64(1) << np.uint64(place[bit])
    values = np.zeros(len(hashes) + STEP, np.uint64)
    arranged(np.ascontiguousarray(hashes), tables, values)
    return Side(values, np.arange(len(hashes), dtype=np.int32), np.empty_like(values), np.empty(len(hashes), np.int32))


class _Walk:
    """A walk through some buckets of a first block, or over all hashes as one leaf."""

    def __init__(self, one: "Side", other: "Side", blocks: "Blocks", bits: int) -> None:
        from vlp_core.curation import hamming_walk as w

        self._sides, self._blocks, self._bits = (one, other), blocks, bits
        deepest = len(blocks.masks) - bits
        self._frames = np.full((deepest + 1, w.FIELDS), -1, np.int64)
        self._bounds = np.zeros((deepest, 2, int(blocks.masks.max()) + 3), np.int64)
        self._frames[0, [w.LEFT, w.DIFFER]] = bits, 0
        self._depth = 0
        self._found: NDArray[np.int64] | None = None

    @classmethod
    def over_all(cls, one: "Side", other: "Side", blocks: "Blocks", bits: int) -> "_Walk":
        from vlp_core.curation import hamming_walk as w

        walk = cls(one, other, blocks, bits)
        walk._frames[0, [w.LOW, w.HIGH, w.OTHER_LOW, w.OTHER_HIGH]] = 0, len(one.rows), 0, len(other.rows)
        walk._frames[0, [w.LEAF, w.ROW]] = 0
        return walk

    def through(self, block: int, bounds: NDArray[np.int64], low: int, high: int) -> "_Walk":
        """This walk, told to go through buckets low:high of this block, which lie at these bounds on either side."""
        from vlp_core.curation import hamming_walk as w

        self._frames[0, [w.BLOCK, w.FINAL]] = block
        self._frames[0, [w.BUCKET, w.END]] = low, high
        self._bounds[0] = bounds
        return self

    def advance(self) -> NDArray[np.int64]:
        """Near pairs [2, P], as many as there is room for or the last ones."""
        from vlp_core.curation.hamming_walk import advance

        if self._found is None:
            self._found = np.empty((2, _ROOM), np.int64)
        one, other = self._sides
        same = other is one
        self._depth, count = advance(
            self._frames, self._bounds, self._depth, one, other, same, self._blocks, np.uint64(self._bits), self._found
        )
        found = self._found[:, :count].copy()
        if not self.goes_on:
            self._found = None
        return found

    @property
    def goes_on(self) -> bool:
        return self._depth >= 0


def _walks(one: "Side", other: "Side", blocks: "Blocks", bits: int, block: int) -> Iterator[_Walk]:
    """Walks through all buckets of a block, with about the same number of hashes each."""
    from vlp_core.curation.hamming_walk import group

    shift, mask = blocks.shifts[block], blocks.masks[block]
    bounds = np.zeros((2, int(blocks.masks.max()) + 3), np.int64)
    for side, its in ((one, bounds[0]), (other, bounds[1]))[: 1 if other is one else 2]:
        group(side, 0, len(side.rows), shift, mask, its)
    buckets = int(mask) + 1
    ends = bounds[:, 1 : buckets + 1].sum(axis=0)
    cuts = np.unique(np.searchsorted(ends, np.linspace(0, ends[-1], _WALKS + 1)[1:-1]))
    for low, high in pairwise([0, *(cuts + 1).tolist(), buckets]):
        if low < high:
            yield _Walk(one, other, blocks, bits).through(block, bounds, low, high)


def _in_order(pool: ThreadPoolExecutor, walks: Iterator[_Walk]) -> Iterator[tuple[Rows, Rows]]:
    """What the walks find, one walk after the other; those ahead go on meanwhile until their room is full."""
    ahead = deque((walk, pool.submit(walk.advance)) for walk in islice(walks, _AHEAD))
    while ahead:
        walk, future = ahead.popleft()
        found = future.result()
        if walk.goes_on:
            ahead.appendleft((walk, pool.submit(walk.advance)))
        elif (following := next(walks, None)) is not None:
            ahead.append((following, pool.submit(following.advance)))
        if found.shape[1]:
            yield found[0], found[1]
