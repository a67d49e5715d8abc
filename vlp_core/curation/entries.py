"""A list of entries, and which captions they stand in."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.errors import UserError

if TYPE_CHECKING:
    from vlp_core.curation.phrases import Texts

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
Parts = list[tuple[pa.RecordBatch, slice]]
Result = TypeVar("Result")

_THREADS = 2
_BATCH = 65_536  # pictures read at once


def read_entries(path: Path) -> pa.LargeStringArray:
    """The entries of a file, each once: a text file of one a line, or a JSON list of texts; UserError for no such."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        listed = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable list of entries ({error}); give a text file of one a line") from error
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise UserError(f"{path}: not a JSON list of texts; give one, or a text file of one entry a line")
    entries = pa.array([*dict.fromkeys(filter(None, map(str.strip, listed)))], pa.large_string())
    if not len(entries):
        raise UserError(f"{path}: no entries in it; give a text file of one a line")
    return entries


class Entries:
    """Entries as captions are compared with them: at word boundaries, and with the same capitals.

    Captions come as tables of `uid` and `captions`, a row a picture. Time grows with the letters that are read and not
    with the entries; memory: some 100 bytes an entry.
    """

    def __init__(self, texts: pa.LargeStringArray) -> None:
        from vlp_core.curation.phrases import Trie, learn, tokens_in

        self._size = len(texts)
        views = _texts(texts)
        slots = 1 << int(2 * tokens_in(views, _kinds()) + 1).bit_length()
        self._trie = Trie(np.zeros(slots, np.uint64), np.zeros(slots, np.int32), _kinds())
        keys = np.zeros(len(texts), np.uint64)
        learn(views, self._trie, keys)

    def counted(self, table: pa.Table, asked: Bools) -> tuple[Counts, int]:
        """How many of the asked captions [captions] each entry stands in [entries], and how many have any.

        Of entries with the same tokens ('hot-dog', 'hot - dog') the first has them all.
        """
        from vlp_core.curation.phrases import count

        def work(parts: Parts) -> tuple[Counts, int]:
            counts, seen, matched = np.zeros(self._size, np.int64), np.full(self._size, -1), 0
            for batch, place in parts:
                matched += count(_texts(pc.list_flatten(batch["captions"])), asked[place], self._trie, seen, counts)
            return counts, matched

        found = _shared(table, work)
        return np.sum([counts for counts, _ in found], axis=0, dtype=np.int64), sum(matched for _, matched in found)

    def drawn(self, table: pa.Table, chances: NDArray[np.float64], seed: int) -> Bools:
        """Which captions [captions] any of their entries keeps, each with its chance [entries].

        What is drawn depends on (seed, uid, entry) alone: not on the other entries, captions or pictures.
        """
        from vlp_core.curation.phrases import draw, keys_of

        kept = np.zeros(pc.sum(pc.list_value_length(table["captions"])).as_py() or 0, bool)

        def work(parts: Parts) -> None:
            for batch, place in parts:
                uids = np.zeros(len(batch), np.uint64)
                keys_of(_texts(batch["uid"]), uids)
                owners = uids[pc.list_parent_indices(batch["captions"]).to_numpy()]
                texts = _texts(pc.list_flatten(batch["captions"]))
                draw(texts, owners, self._trie, chances, np.uint64(seed), kept[place])

        _shared(table, work)
        return kept


def _shared(table: pa.Table, work: Callable[[Parts], Result]) -> list[Result]:
    """What each thread makes of its batches, with the place of a batch's captions among all."""
    parts = list(_batches(table))
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, [parts[thread::_THREADS] for thread in range(_THREADS)]))


def _batches(table: pa.Table) -> Iterator[tuple[pa.RecordBatch, slice]]:
    start = 0
    for batch in table.select(["uid", "captions"]).to_batches(max_chunksize=_BATCH):
        end = start + (pc.sum(pc.list_value_length(batch["captions"])).as_py() or 0)
        yield batch, slice(start, end)
        start = end


@cache
def _kinds() -> NDArray[np.uint8]:
    """What each code point is: a part of a word, a sign, or white space."""
    from vlp_core.curation.phrases import SIGN, SPACE, WORD

    def kind(letter: str) -> int:
        return SPACE if letter.isspace() else WORD if unicodedata.category(letter)[0] in "LMN" else SIGN

    return np.fromiter((kind(chr(code)) for code in range(sys.maxunicode + 1)), np.uint8, sys.maxunicode + 1)


def _texts(texts: pa.Array) -> "Texts":
    """The letters of an array of texts where they lie in memory."""
    from vlp_core.curation.phrases import Texts

    texts = texts.cast(pa.large_string())
    if not len(texts):
        return Texts(np.zeros(1, np.int64), np.zeros(0, np.uint8))
    _, offsets, letters = texts.buffers()
    places = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return Texts(places, np.frombuffer(letters, np.uint8) if letters else np.zeros(0, np.uint8))
