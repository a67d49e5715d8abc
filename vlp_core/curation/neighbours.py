"""Pairs of pictures that may be alike, without comparing all with all: neighbours of small descriptors.

A descriptor is the low frequencies of the upper or the lower three quarters of a grey thumbnail, as a direction: a bar
of text at one edge leaves the other's as it was, and a mirrored picture's differs in signs alone. Descriptors are
parted into leaves of some 128 by k-means in two levels; each goes into its two nearest, and a pair that shares one is
met. They are whole numbers, whose sums are the same in any order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.hashes import GREY_SIDE, cosines
from vlp_core.identity import generator

Rows = NDArray[np.int64]
Small = NDArray[np.int8]

UNIT = 127
HALVES = (slice(0, 12), slice(4, 16))  # rows of the thumbnail

_LEAF = 128
_ALL_WITH_ALL = 16_384  # rows that are one leaf
_HIGHEST = 6  # of the two frequencies' sum
_FLAT = 40.0  # length, before it is made one: a deviation of some two grey levels
_SAMPLE = 32  # rows a leaf to find the centres from
_ROUNDS = 4
_BLOCK = 1024
_AT_ONCE = 2**20
_MOST = 64  # neighbours of a picture in a leaf, the nearest: a thousand copies of one are not a million pairs


def _basis(rows: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """DCT-II of [rows, 16] as [rows · 16, K] without the mean, higher frequencies heavier for photos have less of them;
    and what mirroring does to each: -1 where the frequency across is odd."""
    down, across = cosines(rows, _HIGHEST + 1), cosines(GREY_SIDE, _HIGHEST + 1)
    v, u = np.indices((_HIGHEST + 1, _HIGHEST + 1))
    kept = (u + v > 0) & (u + v <= _HIGHEST)
    waves = np.einsum("vi,uj->vuij", down, across)[kept] * ((u + v)[kept] + 0.5)[:, None, None]
    return waves.reshape(len(waves), -1).T.astype(np.float32), np.where(u[kept] % 2, -1, 1).astype(np.int8)


def descriptors(grey: NDArray[np.uint8], half: slice) -> tuple[Small, Small]:
    """int8 [N, K] of thumbnails uint8 [N, 256], as they are and mirrored; zero where there is no contrast."""
    basis, signs = _basis(half.stop - half.start)
    found = np.empty((len(grey), basis.shape[1]), np.int8)
    for start in range(0, len(grey), 2**16):
        part = grey[start : start + 2**16].reshape(-1, GREY_SIDE, GREY_SIDE)[:, half]
        waves = part.reshape(len(part), -1).astype(np.float32) @ basis
        length = np.linalg.norm(waves, axis=1, keepdims=True)
        waves *= np.where(length < _FLAT, 0, UNIT / np.maximum(length, _FLAT))
        found[start : start + 2**16] = np.rint(waves)
    return found, found * signs


@dataclass(frozen=True)
class Tree:
    """Centres of leaves int8 [L, K] in order of the groups they are in, and the groups' own centres and bounds."""

    groups: Small
    bounds: Rows
    leaves: Small


def tree_of(rows: Small) -> Tree:
    """Leaves of some `_LEAF` of these descriptors each; one where all can be compared with all."""
    if len(rows) <= _ALL_WITH_ALL:
        return Tree(rows[:1], np.array([0, len(rows[:1])]), rows[:1])
    count = len(rows) // _LEAF
    sample = rows[np.sort(generator("leaves", len(rows)).choice(len(rows), _SAMPLE * count, replace=False))]
    groups = _centres(sample, round(count**0.5))
    leaves, bounds = [], [0]
    for _, inside in _parts(_best(sample, groups, 1)[0][:, 0], len(groups)):
        leaves.append(_centres(sample[inside], max(1, round(len(inside) / _SAMPLE))))
        bounds.append(bounds[-1] + len(leaves[-1]))
    return Tree(groups, np.array(bounds), np.concatenate(leaves))


def leaves_of(tree: Tree, rows: Small) -> NDArray[np.int32]:
    """The two nearest leaves of each row, int32 [N, 2]; -1 where there is no second one, or no contrast."""
    found = np.full((len(rows), 2), -1, np.int32)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        leaves, near = np.full((len(part), 4), -1, np.int32), np.full((len(part), 4), -np.inf, np.float32)
        groups = _best(part, tree.groups, 2)[0]
        for turn in range(groups.shape[1]):
            for group, inside in _parts(groups[:, turn], len(tree.groups)):
                low, high = tree.bounds[group : group + 2]
                place, value = _best(part[inside], tree.leaves[low:high], 2)
                columns = slice(2 * turn, 2 * turn + place.shape[1])
                leaves[inside, columns], near[inside, columns] = place + low, value
        best = np.argsort(-near, axis=1, kind="stable")[:, :2]
        found[start : start + _AT_ONCE] = np.take_along_axis(leaves, best, axis=1)
    found[~rows.any(axis=1)] = -1
    return found


def candidates(
    looks: tuple[Small, Small], others: tuple[Small, Small], least: float, *, later: bool = False
) -> Iterator[tuple[Rows, Rows, NDArray[np.bool_]]]:
    """Pairs (row, row of the others, whether that is mirrored) whose descriptors have at least this cosine, in chunks.

    Both are descriptors as they are and mirrored. With `later` both are the same, a row meets those behind it, and of
    its neighbours in a leaf the `_MOST` nearest are given.
    """
    tree = tree_of(looks[0] if len(looks[0]) > len(others[0]) else others[0])
    own = leaves_of(tree, looks[0])
    leaves = np.concatenate([own if later else leaves_of(tree, others[0]), leaves_of(tree, others[1])])
    mine, theirs = _Members(own, len(tree.leaves)), _Members(leaves, len(tree.leaves))
    for leaf in range(len(tree.leaves)):
        left, right = mine.of(leaf), theirs.of(leaf)
        plain = np.searchsorted(right, len(others[0]))
        towards = np.concatenate([others[0][right[:plain]], others[1][right[plain:] - len(others[0])]])
        towards = towards.astype(np.float32).T
        for start in range(0, len(left), _BLOCK):
            rows = left[start : start + _BLOCK]
            near = looks[0][rows].astype(np.float32) @ towards
            at, to = _near(near, least * UNIT * UNIT, _MOST if later else near.shape[1])
            one, other = rows[at], right[to]
            new = own[one, 0] == leaf
            new |= (leaves[other] != own[one, :1]).all(axis=1)  # else met in that leaf
            one, other = one[new], other[new]
            mirrored = other >= len(others[0])
            other = other - mirrored * len(others[0])
            kept = one < other if later else slice(None)
            yield one[kept], other[kept], mirrored[kept]


def _near(near: NDArray[np.float32], least: float, most: int) -> tuple[Rows, Rows]:
    """Row and column of what is at least so near, of each row the nearest."""
    full = np.flatnonzero((near >= least).sum(axis=1) > most)
    if len(full):
        further = np.argpartition(-near[full], most, axis=1)[:, most:]
        near[full[:, None], further] = -np.inf
    at, to = np.nonzero(near >= least)
    return at, to


class _Members:
    """The rows in each leaf, in order."""

    def __init__(self, leaves: NDArray[np.int32], count: int) -> None:
        flat = leaves.ravel()
        self._order = np.argsort(flat, kind="stable")
        self._bounds = np.searchsorted(flat[self._order], np.arange(count + 1))

    def of(self, leaf: int) -> Rows:
        return self._order[self._bounds[leaf] : self._bounds[leaf + 1]] // 2


def _centres(rows: Small, count: int) -> Small:
    """Spherical k-means, from rows at even distances."""
    centres = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    for _ in range(_ROUNDS if count > 1 else 0):
        for place, inside in _parts(_best(rows, centres, 1)[0][:, 0], count):
            total = rows[inside].sum(axis=0, dtype=np.int64).astype(np.float64)
            centres[place] = np.rint(total * (UNIT / max(1.0, float(np.sqrt((total * total).sum())))))
    return centres


def _best(rows: Small, centres: Small, most: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest centres of each row, at most so many, and how near they are."""
    most = min(most, len(centres))
    places, values = np.empty((len(rows), most), np.int32), np.empty((len(rows), most), np.float32)
    towards = centres.astype(np.float32).T
    step = max(1, 2**22 // len(centres))
    for start in range(0, len(rows), step):
        near = rows[start : start + step].astype(np.float32) @ towards
        at = np.arange(len(near))
        for turn in range(most):
            place = near.argmax(axis=1)
            places[start : start + step, turn], values[start : start + step, turn] = place, near[at, place]
            near[at, place] = -np.inf
    return places, values


def _parts(member: NDArray[np.int32], count: int) -> Iterator[tuple[int, Rows]]:
    """The rows of each part that has some."""
    order = np.argsort(member, kind="stable")
    bounds = np.searchsorted(member[order], np.arange(count + 1))
    for part in np.flatnonzero(np.diff(bounds)).tolist():
        yield part, order[bounds[part] : bounds[part + 1]]
