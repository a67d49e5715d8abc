"""Rows that other tools wrote, as IMAGES: what img2dataset's Parquet lacks is worked out."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.data.layout import CAPTIONS, IMAGES
from vlp_core.identity import uid_of

NEEDED = frozenset({"key", "url", "status"})
CAPTION_COLUMN = b"caption_column"
"""In the metadata of a shard's rows: the column that captions were asked to come from, where the shard has it."""
_UID, _SHA256 = "^[0-9a-f]{32}$", "^[0-9a-f]{64}$"


def as_images(
    rows: pa.Table, *, name: str, caption_names: Sequence[str] = ("caption",), caption_column: str | None = None
) -> pa.Table:
    """IMAGES, and the columns that came along; one of an IMAGES name that holds something else becomes `given_…`.

    `rows` has NEEDED at least. A uid is theirs if it is one (32 hex digits, each once), else the hash of the url, or of
    `name` and key for a row without a url. Captions are `caption_column`, else `captions`, else the first of
    `caption_names` that is a column. `source` is the first part of `name` where the rows do not say it.
    """
    named = [] if caption_column is None else [caption_column]
    rows = rows.combine_chunks()
    columns = {column.name: _cast(rows, column) for column in IMAGES}
    columns["url"] = pc.coalesce(columns["url"], pc.binary_join_element_wise(name, columns["key"], "#"))
    columns["uid"] = _uids(columns["uid"], columns["url"])
    columns["sha256"] = _matching(columns["sha256"], _SHA256)
    columns["captions"] = _captions(rows, [*named, "captions", *caption_names])
    columns["caption"] = _firsts(columns["captions"])
    columns["source"] = pc.coalesce(columns["source"], name.partition("/")[0])
    for given in rows.column_names:
        if given not in IMAGES.names:
            columns[given] = rows[given]
        elif _is_lost(given, rows[given], columns[given]):
            columns[f"given_{given}"] = rows[given]
    there = caption_column is not None and _kind(rows, caption_column) is not None
    return pa.table(columns, metadata={CAPTION_COLUMN: str(caption_column)} if there else None)


def _is_lost(name: str, given: pa.ChunkedArray, taken: pa.Array) -> bool:
    if name == "uid":
        return given.null_count < len(given) and not taken.equals(_whole(given))
    return taken.null_count > given.null_count


def _cast(rows: pa.Table, column: pa.Field) -> pa.Array:
    """Null throughout where there is no such column, or one of another kind."""
    if column.name in rows.column_names:
        try:
            return _whole(rows[column.name].cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    return pa.nulls(len(rows), column.type)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _uids(theirs: pa.Array, urls: pa.Array) -> pa.Array:
    if not _matching(theirs, _UID).null_count and len(pc.unique(theirs)) == len(theirs):
        return theirs
    return pa.array([uid_of(url) for url in urls.to_pylist()], pa.string())


def _matching(texts: pa.Array, pattern: str) -> pa.Array:
    fits = pc.match_substring_regex(texts, pattern)
    return pc.if_else(fits, texts, pa.scalar(None, pa.string()))


def _captions(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """Lists of texts without the white space around them; what is empty is none."""
    for name in names:
        kind = _kind(rows, name)
        if kind == "text":
            ends = np.arange(len(rows) + 1)
            return _listed(rows[name].cast(pa.string()), ends)
        if kind == "texts":
            lists = _cast(rows, pa.field(name, CAPTIONS))
            lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
            return _listed(pc.list_flatten(lists), np.concatenate([[0], np.cumsum(lengths)]))
    return _listed(pa.array([], pa.string()), np.zeros(len(rows) + 1, np.int64))


def _kind(rows: pa.Table, name: str) -> Literal["text", "texts"] | None:
    """What a column may hold captions as; None where there is none that may."""
    kind = rows.schema.field(name).type if name in rows.column_names else pa.null()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "texts" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None


def _listed(texts: pa.ChunkedArray | pa.Array, ends: np.ndarray) -> pa.Array:
    """Texts [M] as lists: the i-th holds what is left of those from ends[i] to ends[i + 1]."""
    texts = pc.utf8_trim_whitespace(texts)
    stays = pc.fill_null(pc.not_equal(texts, ""), False)
    before = np.concatenate([[0], np.cumsum(stays.to_numpy(zero_copy_only=False))])
    left = texts.filter(stays)
    left = _whole(left) if isinstance(left, pa.ChunkedArray) else left
    return pa.ListArray.from_arrays(pa.array(before[ends], pa.int32()), left)


def _firsts(captions: pa.ListArray) -> pa.Array:
    lengths = pc.list_value_length(captions)
    at = pc.if_else(pc.greater(lengths, 0), captions.offsets[:-1], pa.scalar(None, pa.int32()))
    return captions.values.take(at)
