"""Which bits of hashes go together in a block, so that few hashes agree in one."""

import numpy as np
from numpy.typing import NDArray

_SAMPLE = 4096  # hashes whose bits are looked at


def laid_out(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64] | None, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order of the 64 bits [64] and the widths [count] of the blocks that it is cut into.

    From the most even bit to the least, each goes where it lowers the share of pairs that agree in a block the most: so
    the bits of a block depend little on one another, and blocks are as selective as each other. Greedy, after Norouzi,
    Punjani and Fleet, arXiv:1307.2982, section 5, with that share in place of correlations.
    """
    parts = [hashes] if others is None else [hashes, others]
    sample = np.concatenate([part[:: -(-len(part) // _SAMPLE)] for part in parts])
    bits = (sample[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(np.int64)
    edges = np.linspace(0, 64, count + 1).astype(np.int64)
    widths = edges[1:] - edges[:-1]
    keys = np.zeros((count, len(sample)), np.int64)
    agree = np.ones(count)
    members: list[list[int]] = [[] for _ in range(count)]
    for bit in np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable").tolist():
        open_to = [block for block in range(count) if len(members[block]) < widths[block]]
        shares = [_agreeing(2 * keys[block] + bits[:, bit]) for block in open_to]
        gains = agree[open_to] - shares
        best = int(np.argmax(gains))
        block = open_to[best]
        keys[block] = 2 * keys[block] + bits[:, bit]
        agree[block] = shares[best]
        members[block].append(bit)
    return np.concatenate(members).astype(np.int64), widths


def _agreeing(keys: NDArray[np.int64]) -> float:
    """The share of pairs, of a row with itself among them, that have the same key."""
    return float(((np.bincount(keys) / len(keys)) ** 2).sum())
