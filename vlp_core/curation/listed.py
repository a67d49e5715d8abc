"""Whether a picture is the one that its list meant: by the sha256 that the list has, and where that differs by its
perceptual hash. Domains change hands, and what they show then has nothing to do with the caption."""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.hashes import NEAR_BITS, hamming
from vlp_core.curation.shard import Shard
from vlp_core.texts import as_text

# Columns of lists: sha256 of a picture's body, and its perceptual hash as the step `hash` has it.
LIST_SHA256, LIST_PHASH = "list_sha256", ("list_phash", "phash")
_SHA256, _PHASH = "^[0-9a-f]{64}$", "[0-9a-fA-F]{16}"
_BITS = 2**64 - 1  # signed numbers hold the same bits


def of_lists(shard: Shard) -> Mapping[str, pa.Array]:
    """`yes` where the list says nothing of a picture, has its sha256 or nearly its perceptual hash, else `no`; null
    where it would have to be looked at and cannot be."""
    other = says_sha256(shard.rows) & ~has_sha256(shard.rows)
    said = np.full(len(shard), "yes", np.object_)
    said[other] = "no"
    hashes = said_phashes(shard.rows.filter(pa.array(other)))
    rows = np.flatnonzero(other)[[known is not None for known in hashes]]
    if shard.phashes is None:
        said[rows] = None
    elif len(rows):
        known = np.array([known for known in hashes if known is not None], np.uint64)
        said[rows[hamming(shard.phashes(rows), known) <= NEAR_BITS]] = "yes"
    return {"listed": pa.array(said, pa.string())}


def says_sha256(rows: pa.Table) -> NDArray[np.bool_]:
    """[rows] whether the list says which picture it meant."""
    if LIST_SHA256 not in rows.column_names:
        return np.zeros(len(rows), dtype=bool)
    return pc.fill_null(pc.match_substring_regex(_sha256(rows), _SHA256), False).to_numpy()


def has_sha256(rows: pa.Table) -> NDArray[np.bool_]:
    """[rows] whether the picture that came is that."""
    if LIST_SHA256 not in rows.column_names:
        return np.zeros(len(rows), dtype=bool)
    return pc.fill_null(pc.equal(_sha256(rows), rows["sha256"]), False).to_numpy()


def said_phashes(rows: pa.Table) -> list[int | None]:
    """[rows] perceptual hashes as the list has them: 64 bits, as a number or 16 hex digits; None where it has none."""
    name = next((name for name in LIST_PHASH if name in rows.column_names), None)
    if name is None:
        return [None] * len(rows)
    said = rows[name]
    if pa.types.is_integer(said.type):
        return [None if value is None else value & _BITS for value in said.to_pylist()]
    texts = as_text(said).to_pylist()
    return [int(text, 16) if text and re.fullmatch(_PHASH, text) else None for text in texts]


def _sha256(rows: pa.Table) -> pa.ChunkedArray:
    return pc.utf8_lower(as_text(rows[LIST_SHA256]))
