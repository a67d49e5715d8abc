"""A list of entries, and which captions they stand in."""

import json
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.errors import UserError

if TYPE_CHECKING:
    from vlp_core.curation.phrases import Texts

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]

_THREADS = 2
BATCH = 65_536  # pictures read at once


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


@dataclass(frozen=True)
class Found:
    """The entries that stand in the captions of some pictures: entries int32 [M], where each caption's end int64
    [captions], and the pictures' uids as 64 bits, one for each caption."""

    entries: NDArray[np.int32]
    ends: NDArray[np.int64]
    owners: NDArray[np.uint64]

    def counts(self, size: int, kept: Bools | None = None) -> Counts:
        """In how many captions, or of those kept, each of `size` entries stands."""
        if kept is None:
            return np.bincount(self.entries, minlength=size)
        return np.bincount(self.entries[np.repeat(kept, np.diff(self.ends, prepend=0))], minlength=size)

    def any(self) -> int:
        """How many captions have an entry."""
        return int(np.count_nonzero(np.diff(self.ends, prepend=0)))


class Entries:
    """Entries as captions are compared with them: at word boundaries, and with the same capitals.

    Of entries with the same tokens ('hot-dog', 'hot - dog') the first has all matches.
    """

    def __init__(self, texts: pa.LargeStringArray) -> None:
        from vlp_core.curation.phrases import Trie, learn, tokens_in

        views = _texts(texts)
        slots = 1 << int(2 * tokens_in(views, _kinds()) + 1).bit_length()
        self._trie = Trie(np.zeros(slots, np.uint64), np.zeros(slots, np.int32), _kinds())
        self._keys = np.zeros(len(texts), np.uint64)
        learn(views, self._trie, self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def found(self, table: pa.Table) -> list[Found]:
        """What stands in the captions of a table of `uid` and `captions`, a row a picture, some rows at a time.

        Time grows with the letters that are read and not with the entries; memory: 4 bytes a match and 16 a caption.
        """
        from vlp_core.curation.phrases import find, keys_of

        def work(batch: pa.RecordBatch) -> Found:
            uids = np.zeros(len(batch), np.uint64)
            keys_of(_texts(batch["uid"]), uids)
            entries, ends = find(_texts(pc.list_flatten(batch["captions"])), self._trie, np.full(len(self), -1))
            return Found(entries, ends, uids[pc.list_parent_indices(batch["captions"]).to_numpy()])

        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(work, table.select(["uid", "captions"]).to_batches(max_chunksize=BATCH)))

    def drawn(self, found: Found, chances: NDArray[np.float64], seed: int) -> Bools:
        """Which captions any of their entries keeps, each with its chance [entries].

        What is drawn depends on (seed, uid, entry) alone: not on the other entries, captions or pictures.
        """
        from vlp_core.curation.phrases import draw

        kept = np.zeros(len(found.ends), bool)
        draw(found.entries, found.ends, self._keys, chances, found.owners, np.uint64(seed), kept)
        return kept


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
