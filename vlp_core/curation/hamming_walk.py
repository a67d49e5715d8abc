"""The inner loops of `hamming`, compiled: imported inside functions only, for numba takes half a second.

A walk goes depth first through buckets within buckets. Its state is arrays, so that it can stop wherever its output is
full and go on from there. Buckets are made by sorting their rows in place: the order in which a walk leaves the rows of
a bucket changes nothing for who looks at the bucket as a whole, and walks on buckets apart may run at once.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite.ir import IRBuilder, Value
from numba import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic
from numpy.typing import NDArray

from vlp_core.compiled import njit

STEP = 128  # hashes that are compared at once, whole vectors of any width; values are padded by as many
TILE = 2048  # hashes that stay in the nearest cache while many are compared with them: room that an output must have

_FEW = 32  # so many are sooner compared one by one
_GROUPING_A_ROW = 20  # of one comparison's cost
_GROUPING = 800

# A node of the walk: its rows on either side, the last block in which they agree, how many later blocks may differ, the
# earlier ones that must (a bit each), the block by which it is grouped, the last one it is to be grouped by, the next
# bucket, the end of the buckets; of a leaf (else -1) the tile and the row at which it is.
LOW, HIGH, OTHER_LOW, OTHER_HIGH, AGREED, LEFT, DIFFER, BLOCK, FINAL, BUCKET, END, LEAF, ROW = range(13)
FIELDS = 13


class Side(NamedTuple):
    """Hashes uint64 [N + STEP] with their bits in order of blocks, where each came from int32 [N], and spare room."""

    values: NDArray[np.uint64]
    rows: NDArray[np.int32]
    spare: NDArray[np.uint64]
    spare_rows: NDArray[np.int32]


class Blocks(NamedTuple):
    """Where each block of bits begins, and as many ones as it has bits."""

    shifts: NDArray[np.uint64]
    masks: NDArray[np.uint64]


def _counted(_typing: object, _value: object) -> tuple[Signature, object]:
    """How many bits of a uint64 are set: numba has no name for the instruction."""

    def code(_context: object, builder: IRBuilder, _signature: object, arguments: list[Value]) -> Value:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


_ones: Any = intrinsic(_counted)


@njit(nogil=True)
def arranged(hashes: NDArray[np.uint64], tables: NDArray[np.uint64], values: NDArray[np.uint64]) -> None:
    """Write hashes with their bits in another order; `tables` [8, 256] has for each byte where its bits go."""
    for i in range(len(hashes)):
        value = np.uint64(0)
        for byte in range(8):
            value |= tables[byte, (hashes[i] >> np.uint64(8 * byte)) & np.uint64(255)]
        values[i] = value


@njit(nogil=True)
def group(side: Side, low: int, high: int, shift: np.uint64, mask: np.uint64, bounds: NDArray[np.int64]) -> None:
    """Sort rows low:high in place by a block; bucket v lies at bounds[v]:bounds[v + 1]."""
    values, rows, spare, spare_rows = side
    bounds[: np.int64(mask) + 3] = 0
    for i in range(low, high):
        bounds[np.int64((values[i] >> shift) & mask) + 2] += 1
    bounds[0] = bounds[1] = low
    for bucket in range(2, np.int64(mask) + 3):
        bounds[bucket] += bounds[bucket - 1]
    for i in range(low, high):
        v = np.int64((values[i] >> shift) & mask) + 1
        spare[bounds[v]] = values[i]
        spare_rows[bounds[v]] = rows[i]
        bounds[v] += 1
    values[low:high] = spare[low:high]
    rows[low:high] = spare_rows[low:high]


@njit(nogil=True)
def is_leaf(pairs: int, rows: int, last: int, left: int, blocks: Blocks) -> bool:
    """Whether comparing a bucket's pairs is quicker than grouping it further, or is all that is left to do.

    `last` is the last block in which its rows agree, `left` in how many of the later blocks a pair may differ.
    """
    later = len(blocks.masks) - 1 - last
    if later <= left:
        return True
    if np.uint64(left) >= blocks.masks[last + 1]:
        return True
    return pairs <= (left + 1) * (_GROUPING_A_ROW * rows + _GROUPING)


@njit(nogil=True)
def _enter(frames: NDArray[np.int64], bounds: NDArray[np.int64], depth: int, same: bool, blocks: Blocks) -> int:
    """Lay the next bucket of a node that has pairs at depth + 1; 1, or 0 where there is none."""
    node, child = frames[depth], frames[depth + 1]
    while node[BUCKET] < node[END]:
        v = node[BUCKET]
        node[BUCKET] += 1
        low, high = bounds[depth, 0, v], bounds[depth, 0, v + 1]
        other_low, other_high = bounds[depth, 1, v], bounds[depth, 1, v + 1]
        if same:
            other_low, other_high = low, high
            pairs = (high - low) * (high - low - 1) // 2
        else:
            pairs = (high - low) * (other_high - other_low)
        if pairs == 0:
            continue
        last = node[BLOCK]
        left = node[LEFT] - (last - node[AGREED] - 1)
        child[LOW], child[HIGH], child[OTHER_LOW], child[OTHER_HIGH] = low, high, other_low, other_high
        child[AGREED], child[LEFT] = last, left
        child[DIFFER] = node[DIFFER]
        for block in range(node[AGREED] + 1, last):
            child[DIFFER] |= 1 << block
        child[BLOCK], child[FINAL] = last, last + 1 + left
        child[BUCKET] = child[END] = 0
        rows = high - low if same else high - low + other_high - other_low
        child[LEAF], child[ROW] = -1, low
        if is_leaf(pairs, rows, last, left, blocks):
            child[LEAF] = other_low
        return 1
    return 0


@njit(nogil=True)
def _any_near(value: np.uint64, values: NDArray[np.uint64], start: int, bits: np.uint64) -> bool:
    """Whether any of STEP values is near: a loop of one length without branches, which becomes vectors."""
    found = 0
    for k in range(STEP):
        found += _ones(value ^ values[start + k]) <= bits
    return found > 0


@njit(nogil=True)
def _differs(both: np.uint64, differ: int, blocks: Blocks) -> bool:
    """Whether a pair differs in all blocks that it must: else it is met elsewhere too."""
    block = 0
    while differ >> block:
        if (differ >> block) & 1 and (both >> blocks.shifts[block]) & blocks.masks[block] == 0:
            return False
        block += 1
    return True


@njit(nogil=True)
def _compare(
    leaf: NDArray[np.int64],
    one: Side,
    other: Side,
    same: bool,
    blocks: Blocks,
    bits: np.uint64,
    found: NDArray[np.int64],
    count: int,
) -> int:
    """Write the near pairs of a leaf behind `count` others; how many that makes. The leaf keeps where it stopped."""
    while leaf[LEAF] < leaf[OTHER_HIGH]:
        end = min(leaf[LEAF] + TILE, leaf[OTHER_HIGH])
        high = min(leaf[HIGH], end) if same else leaf[HIGH]
        for i in range(leaf[ROW], high):
            if count + end - leaf[LEAF] > found.shape[1]:
                leaf[ROW] = i
                return count
            value = one.values[i]
            for start in range(max(i + 1, leaf[LEAF]) if same else leaf[LEAF], end, STEP):
                if end - start > _FEW and not _any_near(value, other.values, start, bits):
                    continue
                for j in range(start, min(start + STEP, end)):
                    both = value ^ other.values[j]
                    if _ones(both) <= bits and _differs(both, leaf[DIFFER], blocks):
                        found[0, count], found[1, count] = one.rows[i], other.rows[j]
                        count += 1
        leaf[LEAF], leaf[ROW] = end, leaf[LOW]
    return count


@njit(nogil=True)
def advance(
    frames: NDArray[np.int64],
    bounds: NDArray[np.int64],
    depth: int,
    one: Side,
    other: Side,
    same: bool,
    blocks: Blocks,
    bits: np.uint64,
    found: NDArray[np.int64],
) -> tuple[int, int]:
    """Write near pairs to `found` [2, at least TILE] until it is full or all is walked; at which depth that is
    (-1: through) and how many pairs there are.
    """
    count = 0
    while depth >= 0:
        node = frames[depth]
        if node[LEAF] >= 0:
            count = _compare(node, one, other, same, blocks, bits, found, count)
            if node[LEAF] < node[OTHER_HIGH]:
                return depth, count
            depth -= 1
        elif node[BUCKET] < node[END]:
            depth += _enter(frames, bounds, depth, same, blocks)
        elif node[BLOCK] < node[FINAL]:
            node[BLOCK] += 1
            shift, mask = blocks.shifts[node[BLOCK]], blocks.masks[node[BLOCK]]
            group(one, node[LOW], node[HIGH], shift, mask, bounds[depth, 0])
            if not same:
                group(other, node[OTHER_LOW], node[OTHER_HIGH], shift, mask, bounds[depth, 1])
            node[BUCKET], node[END] = 0, np.int64(mask) + 1
        else:
            depth -= 1
    return depth, count
