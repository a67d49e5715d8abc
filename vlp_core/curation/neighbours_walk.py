"""The inner loops of `neighbours`, compiled: imported inside functions only, for numba takes half a second.

Descriptors are whole numbers of which a sum of products stays below 2²⁴: single precision gives it exactly, in whatever
order it is summed. Those that one is compared with lie in panels: PANEL columns, as [K, PANEL], so that a few vector
instructions are for all of them; what is behind the last column of a panel is never looked at.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlp_core.compiled import njit

PANEL = 32
TERMS = 9  # of a sum that are added at a time: K is a multiple of it

Small = NDArray[np.int8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Rows = NDArray[np.int64]


class Tree(NamedTuple):
    """Nodes from the root down, the children of one side by side."""

    first: Rows  # [V] a node's first child
    fan: Rows  # [V] how many it has: none is a leaf's
    leaf: Ints  # [V] a leaf's number
    panel: Rows  # [V] where the panels with its children's centres begin
    centres: Floats  # these panels


class Placed(NamedTuple):
    """Descriptors int8 [N, K], each times `signs` [K], in their leaves."""

    rows: Small
    signs: Floats
    leaves: Ints  # [N, W] the nearest leaf, the second nearest and so on; -1: none
    order: Ints  # rows by leaf, ascending in each
    bounds: Rows  # [L + 1] where each leaf begins


@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _products(one: Floats, panels: Floats, first: int, count: int, sums: Floats) -> None:
    """Fill in the products of `one` [K] and the columns of so many panels."""
    size = len(one) * PANEL
    for panel in range(count):
        columns = panels[(first + panel) * size : (first + panel + 1) * size]
        its = sums[panel * PANEL : (panel + 1) * PANEL]
        its[:] = 0
        for k in range(0, len(one), TERMS):
            a, b, c, d, e = one[k], one[k + 1], one[k + 2], one[k + 3], one[k + 4]
            f, g, h, i = one[k + 5], one[k + 6], one[k + 7], one[k + 8]
            r = columns[k * PANEL : (k + TERMS) * PANEL]
            for j in range(PANEL):
                its[j] += (
                    a * r[j] + b * r[PANEL + j] + c * r[2 * PANEL + j]
                    + d * r[3 * PANEL + j] + e * r[4 * PANEL + j] + f * r[5 * PANEL + j]
                    + g * r[6 * PANEL + j] + h * r[7 * PANEL + j] + i * r[8 * PANEL + j]
                )  # fmt: skip


@njit(nogil=True)
def _copied(rows: Small, row: int, signs: Floats, one: Floats) -> bool:
    """Fill in a row; whether it is one, not all zero."""
    some = False
    for k in range(len(one)):
        one[k] = rows[row, k] * signs[k]
        some |= one[k] != 0
    return some


@njit(nogil=True)
def _lay(rows: Small, some: Ints, signs: Floats, panels: Floats, first: int) -> None:
    """Fill in panels with some rows."""
    width = rows.shape[1]
    for place in range(len(some)):
        at = (first + place // PANEL) * width * PANEL + place % PANEL
        for k in range(width):
            panels[at + k * PANEL] = rows[some[place], k] * signs[k]


@njit(nogil=True)
def in_panels(rows: Small) -> Floats:
    """Panels of all rows."""
    panels = np.zeros(-(-len(rows) // PANEL) * rows.shape[1] * PANEL, np.float32)
    _lay(rows, np.arange(len(rows)).astype(np.int32), np.ones(rows.shape[1], np.float32), panels, 0)
    return panels


@njit(nogil=True)
def split(
    rows: Small, order: Rows, low: int, high: int, count: int, each: int, rounds: int, unit: float
) -> tuple[Small, Rows]:
    """Spherical k-means of rows order[low:high], from rows at even distances: centres [count, K] of length `unit`, and
    the bounds [count + 1] of their rows in `order`, which is sorted by centre. Centres are moved by about `each` rows
    for one of them.
    """
    width = rows.shape[1]
    centres, one, signs = np.empty((count, width), np.int8), np.empty(width, np.float32), np.ones(width, np.float32)
    for place in range(count):
        centres[place] = rows[order[low + (high - low - 1) * place // max(count - 1, 1)]]
    panels, stride = -(-count // PANEL), max(1, (high - low) // (each * count))
    sums, nearest = np.empty(panels * PANEL, np.float32), np.empty(high - low, np.int64)
    for turn in range(rounds + 1):
        total, size = np.zeros((count, width)), np.zeros(count, np.int64)
        columns = in_panels(centres)
        for i in range(low, high, stride if turn < rounds else 1):
            _copied(rows, order[i], signs, one)
            _products(one, columns, 0, panels, sums)
            place = int(sums[:count].argmax())
            nearest[i - low] = place
            size[place] += 1
            for k in range(width):
                total[place, k] += one[k]
        if turn < rounds:
            for place in range(count):
                length = np.sqrt((total[place] * total[place]).sum())
                if length > 0:
                    centres[place] = np.rint(total[place] * (unit / length)).astype(np.int8)
    bounds = np.full(count + 1, low)
    bounds[1:] += np.cumsum(size)
    at, sorted_ = bounds.copy(), np.empty(high - low, np.int64)
    for i in range(low, high):
        place = nearest[i - low]
        sorted_[at[place] - low] = order[i]
        at[place] += 1
    order[low:high] = sorted_
    return centres, bounds


@njit(nogil=True)
def descend(tree: Tree, rows: Small, signs: Floats, beam: int, leaves: Ints) -> None:
    """Fill in the nearest leaves [N, W] of each row that is not zero, as `_nearest_leaves` finds them."""
    one, room = np.empty(rows.shape[1], np.float32), _room(tree, beam)
    for row in range(len(rows)):
        if _copied(rows, row, signs, one):
            for place in range(min(_nearest_leaves(tree, one, beam, room), leaves.shape[1])):
                leaves[row, place] = tree.leaf[room.nodes[place]]


class _Room(NamedTuple):
    """Where a search notes the nodes of a level that it follows, and panels of their children."""

    nodes: Rows  # [beam]
    near: Floats  # [beam]
    sums: Floats
    nodes_of: Rows  # the node that a panel begins with
    best: Floats  # of each panel


@njit(nogil=True)
def _room(tree: Tree, beam: int) -> _Room:
    panels = beam * -(-max(tree.fan.max(), 1) // PANEL)
    nodes, near, sums = np.zeros(beam, np.int64), np.zeros(beam, np.float32), np.empty(panels * PANEL, np.float32)
    return _Room(nodes, near, sums, np.empty(panels, np.int64), np.empty(panels, np.float32))


@njit(nogil=True)
def _nearest_leaves(tree: Tree, one: Floats, beam: int, room: _Room) -> int:
    """Write the nearest leaves, under the nearest `beam` nodes of each level, to room.nodes; how many."""
    nodes, near, sums, nodes_of, best = room
    nodes[0], held, deeper = 0, 1, tree.fan[0] > 0
    while deeper:
        panels, children = 0, 0
        for place in range(held):
            node = nodes[place]
            fan = max(tree.fan[node], 1)
            more = -(-fan // PANEL)
            its = sums[panels * PANEL : (panels + more) * PANEL]
            nodes_of[panels] = tree.first[node]
            if tree.fan[node] > 0:
                _products(one, tree.centres, tree.panel[node], more, its)
            else:
                its[0], nodes_of[panels] = near[place], node
            its[fan:] = -np.inf
            for panel in range(panels, panels + more):
                nodes_of[panel] = nodes_of[panels] + (panel - panels) * PANEL
                best[panel] = _largest(sums[panel * PANEL : (panel + 1) * PANEL])
            panels, children = panels + more, children + fan
        held, deeper = min(beam, children), False
        for place in range(held):
            panel = int(best[:panels].argmax())
            near[place], its = best[panel], sums[panel * PANEL : (panel + 1) * PANEL]
            at = 0
            while its[at] != near[place]:
                at += 1
            nodes[place], its[at] = nodes_of[panel] + at, -np.inf
            best[panel] = _largest(its)
            deeper |= tree.fan[nodes[place]] > 0
    return held


@njit(nogil=True, fastmath={"reassoc", "nnan", "nsz"})
def _largest(sums: Floats) -> float:
    """Of a panel: a loop of one length without branches, which becomes vectors."""
    best = sums[0]
    for j in range(PANEL):
        best = max(best, sums[j])
    return best


@njit(nogil=True)
def grouped(leaves: Ints, count: int) -> tuple[Ints, Rows]:
    """Rows by leaf and where each leaf begins, as `Placed` has them."""
    bounds = np.zeros(count + 2, np.int64)
    for leaf in leaves.ravel():
        if leaf >= 0:
            bounds[leaf + 2] += 1
    bounds[:] = np.cumsum(bounds)
    order = np.empty(bounds[-1], np.int32)
    for row in range(len(leaves)):
        for leaf in leaves[row]:
            if leaf >= 0:
                order[bounds[leaf + 1]] = row
                bounds[leaf + 1] += 1
    return order, bounds[:-1]


@njit(nogil=True)
def leaf_panels(placed: Placed) -> tuple[Floats, Rows]:
    """Panels of each leaf, one leaf's behind the other's, and where they begin [L + 1]."""
    width, count = placed.rows.shape[1], len(placed.bounds) - 1
    starts = np.zeros(count + 1, np.int64)
    for leaf in range(count):
        starts[leaf + 1] = starts[leaf] - (placed.bounds[leaf] - placed.bounds[leaf + 1]) // PANEL
    panels = np.zeros(starts[-1] * width * PANEL, np.float32)
    for leaf in range(count):
        some = placed.order[placed.bounds[leaf] : placed.bounds[leaf + 1]]
        _lay(placed.rows, some, placed.signs, panels, starts[leaf])
    return panels, starts


@njit(nogil=True)
def look_up(one: Placed, others: Placed, panels: Floats, starts: Rows, least: float, widest: int) -> Ints:
    """Pairs [2, P] of rows and of others in the same leaf whose product is at least `least`.

    The others are in one leaf each, and lie in these panels; of a leaf the first `widest` are looked at.
    """
    sought = np.empty(one.rows.shape[1], np.float32)
    largest = np.diff(others.bounds).max() + PANEL
    sums, hits = np.empty(largest, np.float32), np.empty(largest, np.int64)
    found, count = np.empty((2, 1024), np.int32), 0
    for leaf in range(len(one.bounds) - 1):
        low, high = others.bounds[leaf], others.bounds[leaf + 1]
        for row in one.order[one.bounds[leaf] : one.bounds[leaf + 1]]:
            _copied(one.rows, row, one.signs, sought)
            seen = _similar(sought, panels, starts[leaf], 0, min(high - low, widest), least, sums, hits)
            found = _with_room(found, count, seen)
            for hit in hits[:seen]:
                found[0, count], found[1, count] = row, others.order[low + hit]
                count += 1
    return found[:, :count].copy()


@njit(nogil=True)
def meet(one: Placed, other: Placed, low: int, high: int, least: float, most: int, widest: int) -> Ints:
    """Pairs [2, P] of a row and a later one that share one of leaves low:high and whose product is at least `least`.

    Both are in two leaves; a pair comes once. Of each row the `most` nearest in a leaf, of the first `widest` that come
    later there.
    """
    width = one.rows.shape[1]
    found, count = np.empty((2, 1024), np.int32), 0
    sought = np.empty(width, np.float32)
    for leaf in range(low, high):
        mine = one.order[one.bounds[leaf] : one.bounds[leaf + 1]]
        theirs = other.order[other.bounds[leaf] : other.bounds[leaf + 1]]
        room, begin = -(-len(theirs) // PANEL) * PANEL, 0
        panels, sums, hits = np.empty(room * width, np.float32), np.empty(room, np.float32), np.empty(room, np.int64)
        _lay(other.rows, theirs, other.signs, panels, 0)
        for row in mine:
            while begin < len(theirs) and theirs[begin] <= row:
                begin += 1
            _copied(one.rows, row, one.signs, sought)
            seen = _similar(sought, panels, 0, begin, min(begin + widest, len(theirs)), least, sums, hits)
            if seen > most:
                seen = _nearest(sums, hits, seen, most)
            found = _with_room(found, count, seen)
            before = one.leaves[row, 0]
            for hit in hits[:seen]:
                its = theirs[hit]
                if leaf == before or (other.leaves[its, 0] != before and other.leaves[its, 1] != before):
                    found[0, count], found[1, count] = row, its
                    count += 1
    return found[:, :count].copy()


@njit(nogil=True)
def _with_room(found: Ints, count: int, more: int) -> Ints:
    """The same with room for so many more than `count`."""
    if count + more <= found.shape[1]:
        return found
    wider = np.empty((2, 2 * (count + more)), np.int32)
    wider[:, :count] = found[:, :count]
    return wider


@njit(nogil=True)
def _similar(
    one: Floats, panels: Floats, first: int, low: int, high: int, least: float, sums: Floats, hits: Rows
) -> int:
    """Write which of columns low:high of these panels have a product of at least `least`; how many."""
    start, end = low // PANEL, -(-high // PANEL)
    if low >= high:
        return 0
    _products(one, panels, first + start, end - start, sums[start * PANEL : end * PANEL])
    sums[start * PANEL : low] = -np.inf
    sums[high : end * PANEL] = -np.inf
    seen = 0
    for panel in range(start, end):
        if _largest(sums[panel * PANEL : (panel + 1) * PANEL]) >= least:
            for j in range(panel * PANEL, (panel + 1) * PANEL):
                if sums[j] >= least:
                    hits[seen] = j
                    seen += 1
    return seen


@njit(nogil=True)
def _nearest(sums: Floats, hits: Rows, seen: int, most: int) -> int:
    """Leave the `most` largest of so many hits, in order; how many they are."""
    values = sums[hits[:seen]]
    edge = np.partition(values, seen - most)[seen - most]
    ties = most - (values > edge).sum()
    count = 0
    for i in range(seen):
        if values[i] > edge or (values[i] == edge and ties > 0):
            ties -= values[i] == edge
            hits[count] = hits[i]
            count += 1
    return count
