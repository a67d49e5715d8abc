"""The judges that need no model: what a picture's row and a caption's letters say."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.shard import Shard
from vlp_core.identity import key_of

_PICTURE = r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic|ico|psd|raw|cr2|nef)"
_FILENAMES = (
    r"[a-z][a-z0-9+.\-]*://\S+",  # a url
    r"www\.\S+",
    rf"[^\s./][^/]*{_PICTURE}",  # my holiday.jpg
    rf"\S+(?:{_PICTURE}|\.(?:pdf|html?|php|aspx?|mp4|mov))(?:\?\S*)?",  # a path's last part
    r"(?:img|dsc[nf]?|image|photo|screenshot|pict?|p|mvi|gopr|wp)[-_ ]?\d[\d_\-]*",  # as cameras name them
    r"[0-9a-f]{16,}|[\d_\-]+",  # a hash, a number
)
_SPACE = r"\s\v\p{Z}\x{85}\x{1c}-\x{1f}"  # what str.split parts words at; RE2's \s is ASCII's alone
_FILENAME = rf"(?i)^\s*(?:{'|'.join(_FILENAMES)})\s*$"


def of_pictures(shard: Shard) -> Mapping[str, pa.Array]:
    """Sides, ratio, bytes, format and number of captions, as far as the rows say."""
    found = {"captions": pc.fill_null(pc.list_value_length(shard.captions), 0)}
    if {"original_width", "original_height"} <= set(shard.rows.column_names):
        width, height = (shard.rows[name].combine_chunks() for name in ("original_width", "original_height"))
        longer = pc.max_element_wise(width, height, skip_nulls=False)
        shorter = pc.min_element_wise(width, height, skip_nulls=False)
        found["side"] = shorter
        found["ratio"] = pc.divide(longer.cast(pa.float64()), pc.max_element_wise(shorter, 1).cast(pa.float64()))
    for name in ("bytes", "format"):
        if name in shard.rows.column_names:
            found[name] = shard.rows[name].combine_chunks()
    # Rows that were adopted have a column of nulls for what nobody wrote down.
    return {name: values for name, values in found.items() if not len(values) or values.null_count < len(values)}


def of_texts(shard: Shard) -> Mapping[str, pa.Array]:
    """Characters, words, repetition, and whether it is a file's name, of each caption."""
    return {
        "chars": pc.utf8_length(shard.texts),
        "words": pc.count_substring_regex(shard.texts, f"[^{_SPACE}]+"),
        "repetition": repetition(shard.texts),
        "filename": pc.if_else(is_filename(shard.texts), "yes", "no"),
    }


def of_others(shard: Shard) -> Mapping[str, pa.Array]:
    """How many pictures of the whole set have each caption."""
    assert shard.shared is not None
    keys, counts = shard.shared
    wanted = caption_keys(shard.texts)
    if not len(keys):
        return {"shared": pa.array(np.ones(len(wanted), np.int64))}
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return {"shared": pa.array(np.where(keys[at] == wanted, counts[at], 1))}


def repetition(texts: pa.Array) -> pa.Array:
    """The share of each text's words that stand in it more than once already: 0 where all differ, and of no words."""
    words = pc.split_pattern_regex(pc.utf8_trim_whitespace(pc.utf8_lower(texts)), f"[{_SPACE}]+")
    owner = pc.list_parent_indices(words).to_numpy()
    codes = pc.dictionary_encode(pc.list_flatten(words)).indices.to_numpy().astype(np.int64)
    total = np.bincount(owner, minlength=len(texts))
    different = np.unique(owner * (codes.max(initial=0) + 1) + codes)
    distinct = np.bincount(different // (codes.max(initial=0) + 1), minlength=len(texts))
    return pa.array((total - distinct) / np.maximum(total, 1))


def is_filename(texts: pa.Array) -> pa.BooleanArray:
    """Which captions are nothing but a file name or a url."""
    return pc.match_substring_regex(texts, _FILENAME)


def caption_keys(texts: pa.Array) -> NDArray[np.uint64]:
    """64 bits that stand for each text."""
    return np.fromiter((key_of(text) for text in texts.to_pylist()), dtype=np.uint64, count=len(texts))


def caption_counts(captions: pa.ListArray) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The captions of a shard by key, and how many of its pictures have each."""
    keys, code = np.unique(caption_keys(pc.list_flatten(captions)), return_inverse=True)
    different = np.unique(code * len(captions) + pc.list_parent_indices(captions).to_numpy())
    return keys, np.bincount(different // max(1, len(captions)), minlength=len(keys))
