"""Which pictures are copies of which, and which of them stays.

Rank decides: the larger original picture comes first, then the one that stands earlier in the list. Going down the
ranks, a picture that nothing before it has claimed stays and claims all unclaimed copies within reach of itself: stars,
not chains, so that two pictures are never merged for a third that lies between them.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.curation.near import Looks, Rows, between, within
from vlp_core.curation.settings import Near

_WINDOW = 2**16  # pictures whose near copies are looked for at a time, to begin with
_MOST_PAIRS = 2**25  # half a gigabyte

EXACT = "exact"
NEAR = "near"


def ranks(width: Rows, height: Rows) -> Rows:
    """The rows in order of rank: larger original pictures first, equal ones in list order."""
    return np.argsort(-(width.astype(np.int64) * height.astype(np.int64)), kind="stable")


def kept_rows(same: Rows, looks: Looks, order: Rows, near: Near) -> Rows:
    """For each row the row that stays for it, itself where it stays.

    `same` [N] numbers the pictures by their bytes (equal number = equal bytes), `order` is the rows by rank.
    """
    exact = _best(same, order)
    order = order[exact[order] == order]
    alike = _best(_numbered(looks), order)  # merged first: no bucket is full of equals
    order = order[alike[order] == order]
    star = np.arange(len(same))
    star[order] = order[stars(looks.take(order), near)]
    return star[alike[exact]]


def stars(looks: Looks, near: Near) -> Rows:
    """For each picture (0 is the first in rank) the centre that claims it.

    Goes down the ranks a window at a time: what a window claims takes no part in those after it, so that a thousand
    near copies are not a million pairs. A window whose pairs are too many to hold is cut.
    """
    centre = np.arange(len(looks))
    free = centre.copy()
    size = _WINDOW
    while len(free):
        pairs = _held(_pairs_of(looks, free, size, near), _MOST_PAIRS if size > 1 else None)
        if pairs is None:
            size = max(1, size // 8)
            continue
        _claim(centre, free[pairs[0]], free[pairs[1]])
        free = free[size:]
        free = free[centre[free] == free]
        size *= 2
    return centre


def _pairs_of(looks: Looks, free: Rows, size: int, near: Near) -> Iterator[tuple[Rows, Rows]]:
    """Near pairs i < j of places in `free` whose first is one of the first `size`."""
    window = looks.take(free[:size])
    yield from within(window, near)
    if size < len(free):
        for left, right in between(window, looks.take(free[size:]), near):
            yield left, right + size


def _held(pairs: Iterator[tuple[Rows, Rows]], most: int | None) -> Rows | None:
    """All pairs as [2, P]; None where they are more than `most`."""
    chunks, count = [np.empty((2, 0), np.int64)], 0
    for left, right in pairs:
        count += len(left)
        if most is not None and count > most:
            return None
        chunks.append(np.stack([left, right]))
    return np.concatenate(chunks, axis=1)


def _claim(centre: Rows, left: Rows, right: Rows) -> None:
    """Each of `left` in order of rank, where none has claimed it, claims those of its `right` that are free."""
    by_left = np.argsort(left, kind="stable")
    firsts, starts = np.unique(left[by_left], return_index=True)
    for first, reach in zip(firsts.tolist(), np.split(right[by_left], starts[1:]), strict=False):
        if centre[first] == first:
            centre[reach[centre[reach] == reach]] = first


def _best(group: Rows, order: Rows) -> Rows:
    """For each row in `order` the first of its group there; itself for any other row."""
    _, first, inverse = np.unique(group[order], return_index=True, return_inverse=True)
    best = np.arange(len(group))
    best[order] = order[first[inverse]]
    return best


def _numbered(looks: Looks) -> Rows:
    """Equal numbers for equal hash and colours."""
    packed = np.concatenate([looks.phash[:, None].view(np.uint8).reshape(-1, 8), looks.colour], axis=1)
    rows = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").ravel()
    return np.unique(rows, return_inverse=True)[1]


def copies_table(uids: pa.Array, sha256: pa.Array, captions: pa.LargeListArray, kept: Rows) -> pa.Table:
    """uid, kept_uid, reason (null, exact: the same bytes as the one that stays, near) and captions of each row.

    A picture that stays has its own captions, then those of its copies in list order, each once; copies have none.
    """
    rows = np.arange(len(kept))
    stays = kept == rows
    equal = pc.equal(sha256, sha256.take(pa.array(kept))).to_numpy(zero_copy_only=False)
    reason = np.where(equal, EXACT, NEAR)
    return pa.table(
        {
            "uid": uids,
            "kept_uid": uids.take(pa.array(kept)),
            "reason": pa.array(reason, pa.string(), mask=stays),
            "captions": _handed_over(captions, kept),
        }
    )


def _handed_over(captions: pa.LargeListArray, kept: Rows) -> pa.LargeListArray:
    own = pc.list_parent_indices(captions).to_numpy()
    words = pc.dictionary_encode(pc.list_flatten(captions))
    code = words.indices.to_numpy()
    order = np.lexsort((np.arange(len(own)), own != kept[own], kept[own]))
    owner, code = kept[own][order], code[order]
    _, at = np.unique(owner * max(1, len(words.dictionary)) + code, return_index=True)
    at.sort()
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[at], minlength=len(kept)))])
    return pa.LargeListArray.from_arrays(pa.array(offsets), words.dictionary.take(pa.array(code[at])))
