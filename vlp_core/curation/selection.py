"""Which pictures make a data set: how many are kept, whose captions they have, and the digest of it all."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.curation.copies import Rows, handed_over
from vlp_core.uids import Texts, draws, lengths_and_text, words

_BLOCK = 2**16  # rows whose bytes are gathered at a time; part of what the digest is


def first_in_order(uids: Texts, seed: int, at_most: int) -> Rows:
    """The rows of the first `at_most` uids in the order of a seed, which does not depend on which others there are."""
    return np.sort(np.argsort(draws(uids, seed, "order"), kind="stable")[:at_most])


def order_by_uid(uids: Texts) -> Rows:
    """The rows in the order of their uids."""
    found = words(uids)
    if found is None:
        return pc.sort_indices(uids).to_numpy()
    order = np.argsort(found[:, 0], kind="stable")
    if (found[order[1:], 0] == found[order[:-1], 0]).any():
        order = np.lexsort((found[:, 1], found[:, 0]))
    return order


def captions_of(rows: Rows, captions: pa.LargeListArray, kept: Rows) -> pa.LargeListArray:
    """The captions of these rows, those of their copies among them.

    `captions` [N], and `kept` [N] the row that stays for each.
    """
    is_involved = kept != np.arange(len(kept))
    is_involved[kept[is_involved]] = True
    involved = np.flatnonzero(is_involved)
    place = np.arange(len(kept))
    place[involved] = np.arange(len(involved))
    merged = handed_over(captions.take(pa.array(involved)), place[kept[involved]])
    place[involved] += len(kept)
    return pa.concat_arrays([captions, merged]).take(pa.array(place[rows]))


def selection_digest(table: pa.Table) -> str:
    """sha256 over uid, weight, captions and sha256 of the rows by uid: of what is selected, not of how it is stored."""
    order = order_by_uid(table["uid"])
    if (np.diff(order) != 1).any():
        table = table.combine_chunks().take(pa.array(order))
    whole = hashlib.sha256()
    for start in range(0, len(table), _BLOCK):
        block = table.slice(start, _BLOCK).combine_chunks()
        uids, weights, captions, identities = (
            block[name].combine_chunks() for name in ("uid", "weight", "captions", "sha256")
        )
        counts = pc.fill_null(pc.list_value_length(captions), 0).to_numpy().astype(np.int64)
        for part in (weights.to_numpy(), counts, *map(_texts, (uids, pc.list_flatten(captions), identities))):
            whole.update(part.tobytes() if isinstance(part, np.ndarray) else part)
    return whole.hexdigest()


def _texts(texts: pa.Array) -> Any:
    lengths, text = lengths_and_text(texts)
    return lengths.astype(np.int64).tobytes() + text.to_pybytes()
