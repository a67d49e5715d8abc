"""Which pictures are copies of which, and which of them stays.

Rank decides: the larger original picture comes first, then the one that stands earlier in the list. Going down the
ranks, a picture that nothing before it has claimed stays and claims all unclaimed copies within reach of itself: stars,
not chains, so that two pictures are never merged for a third that lies between them.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.curation.near import Looks, Rows, within
from vlp_core.curation.settings import Near

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
    star[order] = order[stars(len(order), within(looks.take(order), near))]
    return star[alike[exact]]


def stars(rows: int, pairs: Iterator[tuple[Rows, Rows]]) -> Rows:
    """For each of `rows` (0 is the first in rank) the centre that claims it, given pairs i < j within reach."""
    centre = np.arange(rows)
    chunks = [np.stack(chunk) for chunk in pairs if len(chunk[0])]
    if not chunks:
        return centre
    left, right = np.concatenate(chunks, axis=1)
    by_left = np.argsort(left, kind="stable")
    right = right[by_left]
    firsts, starts = np.unique(left[by_left], return_index=True)
    for first, reach in zip(firsts.tolist(), np.split(right, starts[1:]), strict=True):
        if centre[first] == first:
            free = reach[centre[reach] == reach]
            centre[free] = first
    return centre


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


def copies_table(uids: pa.Array, sha256: pa.Array, captions: pa.ListArray, kept: Rows) -> pa.Table:
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


def _handed_over(captions: pa.ListArray, kept: Rows) -> pa.ListArray:
    own = pc.list_parent_indices(captions).to_numpy()
    words = pc.dictionary_encode(pc.list_flatten(captions))
    code = words.indices.to_numpy()
    order = np.lexsort((np.arange(len(own)), own != kept[own], kept[own]))
    owner, code = kept[own][order], code[order]
    _, at = np.unique(owner * max(1, len(words.dictionary)) + code, return_index=True)
    at.sort()
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[at], minlength=len(kept)))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), words.dictionary.take(pa.array(code[at])))
