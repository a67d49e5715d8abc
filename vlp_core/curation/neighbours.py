"""Pairs of pictures that may be alike, without comparing all with all: neighbours of small descriptors.

A descriptor is the low frequencies of the upper or the lower three quarters of a grey thumbnail, as a direction: a bar
of text at one edge leaves the other's as it was, and a mirrored picture's differs in signs alone. Descriptors are
parted by k-means into some `_FAN` branches, these again, and so on, down to leaves of some `_LEAF`: the work for each
grows as the logarithm of their number. Each goes into its two nearest leaves, and a pair that shares one is met.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.hashes import GREY_SIDE, cosines
from vlp_core.identity import generator

if TYPE_CHECKING:
    from vlp_core.curation.neighbours_walk import Placed, Tree

Rows = NDArray[np.int64]
Small = NDArray[np.int8]
Found = tuple[Rows, Rows, NDArray[np.bool_]]

UNIT = 127
HALVES = (slice(0, 12), slice(4, 16))  # rows of the thumbnail

_LEAF = 128
_FEW_A_LEAF = 64  # of those that many others are looked up among
_FAN = 256  # branches of a node at most: wide nodes lose less than many levels
_BEAM = 3  # nodes of each level that are followed
_LEAVES = 3  # in which one is looked up among few; no more than _BEAM
_ALL_WITH_ALL = 16_384  # rows that are one leaf
_WIDEST = 16_384  # of what k-means cannot part only so many are compared with each
_HIGHEST = 6  # of the two frequencies' sum
_FLAT = 40.0  # length, before it is made one: a deviation of some two grey levels
_SAMPLE = 32  # rows a leaf to find the centres from
_A_CENTRE = 64  # rows of these that move a centre: higher up there are more than it takes
_ROUNDS = 4
_AT_ONCE = 2**16  # rows of a thread's task
_THREADS = 2
_AHEAD = 4 * _THREADS
_MOST = 64  # neighbours of a picture in a leaf, the nearest: a thousand copies of one are not a million pairs


_DOWN, _ACROSS = np.array([(v, u) for v in range(_HIGHEST + 1) for u in range(_HIGHEST + 1) if 0 < u + v <= _HIGHEST]).T


def _basis(rows: int) -> NDArray[np.float32]:
    """DCT-II of [rows, 16] as [rows · 16, K] without the mean, higher frequencies heavier: photos have less of them."""
    down, across = cosines(rows, _HIGHEST + 1)[_DOWN], cosines(GREY_SIDE, _HIGHEST + 1)[_ACROSS]
    waves = np.einsum("ki,kj->ijk", down, across) * (_DOWN + _ACROSS + 0.5)
    return waves.reshape(-1, len(_DOWN)).astype(np.float32)


def _mirroring() -> NDArray[np.float32]:
    """What mirroring does to a descriptor [K]: -1 where the frequency across is odd."""
    return np.where(_ACROSS % 2, -1, 1).astype(np.float32)


def descriptors(grey: NDArray[np.uint8], half: slice) -> Small:
    """int8 [N, K] of thumbnails uint8 [N, 256]; zero where there is no contrast."""
    basis = _basis(half.stop - half.start)
    found = np.empty((len(grey), basis.shape[1]), np.int8)
    for start in range(0, len(grey), 2**12):
        part = grey[start : start + 2**12].reshape(-1, GREY_SIDE, GREY_SIDE)[:, half]
        waves = part.reshape(len(part), -1).astype(np.float32) @ basis
        length = np.linalg.norm(waves, axis=1, keepdims=True)
        waves *= np.where(length < _FLAT, 0, UNIT / np.maximum(length, _FLAT))
        found[start : start + 2**12] = np.rint(waves)
    return found


def candidates(looks: Small, others: Small, least: float) -> Iterator[Found]:
    """Pairs (row, row of the others, whether that is mirrored) whose descriptors have at least this cosine, in chunks:
    the smaller set is parted, and the larger looked up in it.
    """
    from vlp_core.curation.neighbours_walk import leaf_panels, look_up

    swapped = len(others) > len(looks)
    many, few = (others, looks) if swapped else (looks, others)
    tree = tree_of(few, _FEW_A_LEAF) if len(many) > _ALL_WITH_ALL else _one_leaf(few)
    either = placed(tree, np.concatenate([few, few * _mirroring().astype(np.int8)]), leaves=1)
    panels, starts = leaf_panels(either)

    def found(start: int) -> NDArray[np.int32]:
        rows = placed(tree, many[start : start + _AT_ONCE], leaves=_LEAVES)
        return look_up(rows, either, panels, starts, least * UNIT * UNIT, _WIDEST)

    tasks = range(0, len(many), _AT_ONCE)
    for start, pairs in zip(tasks, _ahead(found, tasks), strict=True):
        one, (mirrored, other) = start + pairs[0].astype(np.int64), np.divmod(pairs[1].astype(np.int64), len(few))
        yield *((other, one) if swapped else (one, other)), mirrored > 0


def candidates_within(looks: Small, least: float) -> Iterator[Found]:
    """Pairs (row, later row, whether that is mirrored), as `candidates` gives them; of those that a row meets in a leaf
    the `_MOST` nearest."""
    from vlp_core.curation.neighbours_walk import meet

    tree = tree_of(looks, _LEAF) if len(looks) > _ALL_WITH_ALL else _one_leaf(looks)
    own = placed(tree, looks, leaves=2)
    tasks = np.unique(np.searchsorted(own.bounds, np.arange(0, own.bounds[-1], _AT_ONCE))).tolist()
    spans = list(pairwise([*tasks, len(own.bounds) - 1]))
    for mirrored in (False, True):
        theirs = placed(tree, looks, leaves=2, signs=_mirroring()) if mirrored else own

        def found(span: tuple[int, int], theirs: "Placed" = theirs) -> NDArray[np.int32]:
            return meet(own, theirs, *span, least * UNIT * UNIT, _MOST, _WIDEST)

        for pairs in _ahead(found, spans):
            one, other = pairs.astype(np.int64)
            yield one, other, np.full(len(one), mirrored)


def _ahead(found: Callable[[Any], NDArray[np.int32]], tasks: Iterable[Any]) -> Iterator[NDArray[np.int32]]:
    """What is found for each task, in their order; threads are a few tasks ahead of who reads it."""
    rest = iter(tasks)
    with ThreadPoolExecutor(_THREADS) as threads:
        ahead = deque(threads.submit(found, task) for task in islice(rest, _AHEAD))
        while ahead:
            pairs = ahead.popleft().result()
            ahead.extend(threads.submit(found, task) for task in islice(rest, 1))
            yield pairs


def tree_of(rows: Small, size: int) -> "Tree":
    """Leaves of about so many of these descriptors each."""
    lit = np.flatnonzero(rows.any(axis=1))
    wanted = min(len(lit), _SAMPLE * max(1, len(lit) // size))
    sample = rows[lit[np.sort(generator("leaves", len(lit)).choice(len(lit), wanted, replace=False))]]
    order = np.arange(len(sample))
    spans, first, below = [(0, len(sample))], [], []
    for low, high in spans:  # which grow
        centres, inside = _branches(sample, order, low, high)
        first.append(len(spans))
        below.append(centres)
        spans += inside
    return _tree(first, below)


def _branches(sample: Small, order: Rows, low: int, high: int) -> tuple[Small, list[tuple[int, int]]]:
    """The centres below a node that has these rows of the sample, and which rows each has; of a leaf none."""
    from vlp_core.curation.neighbours_walk import split

    leaves = round((high - low) / _SAMPLE)
    if leaves > 1:
        centres, bounds = split(sample, order, low, high, _fan(leaves), _A_CENTRE, _ROUNDS, UNIT)
        there = np.flatnonzero(np.diff(bounds))
        if len(there) > 1:  # else k-means cannot part them
            return centres[there], list(zip(bounds[there].tolist(), bounds[there + 1].tolist(), strict=True))
    return sample[:0], []


def _fan(leaves: int) -> int:
    """Branches of a node that is to have so many leaves below it: a panel of centres at each level below, and as many
    panels here as that takes.
    """
    from vlp_core.curation.neighbours_walk import PANEL

    wide = min(PANEL, _FAN)
    if leaves <= min(2 * PANEL, _FAN):
        return max(2, leaves)
    here = -(-leaves // wide)
    while here > _FAN:
        here = -(-here // wide)
    return -(-here // wide) * wide


def _one_leaf(rows: Small) -> "Tree":
    return _tree([1], [rows[:0]])


def _tree(first: list[int], below: list[Small]) -> "Tree":
    """Of each node's first child, and its children's centres."""
    from vlp_core.curation.neighbours_walk import PANEL, Tree, in_panels

    fan = np.array([len(centres) for centres in below])
    leaf = np.where(fan == 0, np.cumsum(fan == 0) - 1, -1).astype(np.int32)
    panels = -(-fan // PANEL)
    return Tree(np.array(first), fan, leaf, np.cumsum(panels) - panels, np.concatenate([*map(in_panels, below)]))


def placed(tree: "Tree", rows: Small, *, leaves: int, signs: NDArray[np.float32] | None = None) -> "Placed":
    """These descriptors, times `signs`, in so many of their nearest leaves; those without contrast in none."""
    from vlp_core.curation.neighbours_walk import Placed, descend, grouped

    signs = np.ones(rows.shape[1], np.float32) if signs is None else signs
    found = np.full((len(rows), leaves), -1, np.int32)

    def part(start: int) -> None:
        descend(tree, rows[start : start + _AT_ONCE], signs, _BEAM, found[start : start + _AT_ONCE])

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(part, range(0, len(rows), _AT_ONCE)))
    return Placed(rows, signs, found, *grouped(found, int(tree.leaf.max()) + 1))
