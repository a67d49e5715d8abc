"""Judging a shard's pictures and captions by rules, whole columns at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.language import Detector
from vlp_core.curation.rules import Rule
from vlp_core.identity import key_of

Bools = NDArray[np.bool_]
Columns = NDArray[np.generic]

NO_CAPTION = Rule("captions", ">=", 1)  # always asked first: a pair without a text is none

_PICTURE = r"\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic|ico|psd|raw|cr2|nef)"
_FILENAMES = (
    r"[a-z][a-z0-9+.\-]*://\S+",  # a url
    r"www\.\S+",
    rf"[^\s./][^/]*{_PICTURE}",  # my holiday.jpg
    rf"\S+(?:{_PICTURE}|\.(?:pdf|html?|php|aspx?|mp4|mov))(?:\?\S*)?",  # a path's last part
    r"(?:img|dsc[nf]?|image|photo|screenshot|pict?|p|mvi|gopr|wp)[-_ ]?\d[\d_\-]*",  # as cameras name them
    r"[0-9a-f]{16,}|[\d_\-]+",  # a hash, a number
)
_FILENAME = rf"(?i)^\s*(?:{'|'.join(_FILENAMES)})\s*$"


@dataclass(frozen=True)
class Verdicts:
    """Of each picture the rule it fell to (-1: none) and the captions that pass; `captions_lost` a rule."""

    rule: NDArray[np.int64]
    captions: pa.ListArray
    captions_lost: list[int]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Asks rules in order; how often captions are shared and which language they are in comes from outside.

    `shared` has the keys (see `caption_keys`) of the captions that several pictures have, sorted, and their counts.
    """

    rules: Sequence[Rule]
    detector: Detector
    shared: tuple[NDArray[np.uint64], NDArray[np.int64]]

    def __call__(self, pictures: pa.Table) -> Verdicts:
        """Judge a table of fetched pictures: captions, and what the rules need (see `NEEDS`)."""
        captions = pictures["captions"].combine_chunks()
        owner = pc.list_parent_indices(captions).to_numpy()
        texts = pc.list_flatten(captions)
        alive = np.ones(len(texts), dtype=bool)
        fell = np.full(len(pictures), -1, dtype=np.int64)
        lost = []
        for number, rule in enumerate(self.rules):
            before = int(alive.sum())
            if rule.of_captions:
                at = np.flatnonzero(alive)
                alive[at] = rule.passes(self._of_captions(rule.quantity, texts.take(pa.array(at))))
                standing = np.bincount(owner[alive], minlength=len(pictures)) > 0
            else:
                standing = rule.passes(_of_pictures(rule.quantity, pictures))
                alive &= standing[owner]
            fell[(fell < 0) & ~standing] = number
            lost.append(before - int(alive.sum()))
        return Verdicts(fell, _passed(texts, owner, alive, len(pictures)), lost)

    def _of_captions(self, quantity: str, texts: pa.Array) -> Columns:
        if quantity == "chars":
            return pc.utf8_length(texts).to_numpy()
        if quantity == "words":
            return pc.count_substring_regex(texts, r"\S+").to_numpy()
        if quantity == "filename":
            return np.where(is_filename(texts), "yes", "no")
        if quantity == "language":
            return np.array(self.detector(texts.to_pylist()), dtype=object)
        keys, counts = self.shared
        wanted = caption_keys(texts)
        at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
        return np.where(keys[at] == wanted, counts[at], 1) if len(keys) else np.ones(len(wanted), dtype=np.int64)


_SIDES = ("original_width", "original_height")
NEEDS = {"side": _SIDES, "ratio": _SIDES, "bytes": ("bytes",)}
"""The columns that a quantity is worked out from, beside the captions."""


def _of_pictures(quantity: str, pictures: pa.Table) -> Columns:
    if quantity == "captions":
        return pc.fill_null(pc.list_value_length(pictures["captions"]), 0).to_numpy()
    columns = [pictures[name].to_numpy() for name in NEEDS[quantity]]
    if quantity == "bytes":
        return columns[0]
    width, height = (column.astype(np.float64) for column in columns)
    if quantity == "side":
        return np.minimum(width, height)
    return np.maximum(width, height) / np.maximum(np.minimum(width, height), 1)


def _passed(texts: pa.Array, owner: NDArray[np.int64], alive: Bools, rows: int) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[alive], minlength=rows))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), texts.filter(pa.array(alive)))


def is_filename(texts: pa.Array) -> Bools:
    """Which captions are nothing but a file name or a url."""
    return pc.match_substring_regex(texts, _FILENAME).to_numpy(zero_copy_only=False)


def caption_keys(texts: pa.Array) -> NDArray[np.uint64]:
    """64 bits that stand for each text."""
    return np.fromiter((key_of(text) for text in texts.to_pylist()), dtype=np.uint64, count=len(texts))


def caption_counts(captions: pa.ListArray) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The captions of a shard by key, and how many of its pictures have each."""
    keys = caption_keys(pc.list_flatten(captions))
    of_pictures = np.unique(np.stack([keys, pc.list_parent_indices(captions).to_numpy().astype(np.uint64)]), axis=1)[0]
    return np.unique(of_pictures, return_counts=True)
