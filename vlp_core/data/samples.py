"""Samples: pictures in shards joined with a selection by uid, in storage order, as arrays."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.data.index import Reader
from vlp_core.data.stored import drawn, join
from vlp_core.identity import key_of
from vlp_core.uids import SHA256_DIGITS, keys


class Samples:
    """A data set that is read by position: neighbours in position are neighbours in storage.

    Columns are arrays, not Python objects a row: about 100 bytes a sample beside its captions.
    """

    def __init__(self, images: Path | Sequence[Path], selection: Path | None = None) -> None:
        """See `open`."""
        self._opened = images, selection
        self.files, table, _ = join(images, selection)
        self._reader = Reader()
        self._file = table["file"].to_numpy()
        self._offset = table["offset"].to_numpy()
        self._length = table["length"].to_numpy()
        self.weights: np.ndarray = table["weight"].to_numpy()
        """float32 [N]: how often a sample appears in an epoch, in the mean."""
        self.image_ids: np.ndarray = image_ids(table["sha256"])
        """int64 [N]: equal where the pictures' bytes as they came are."""
        self.uids: pa.Array = table["uid"].combine_chunks()
        self._captions = table["captions"].combine_chunks()
        self.caption_counts: np.ndarray = pc.list_value_length(self._captions).to_numpy()

    @classmethod
    def open(cls, images: Path | Sequence[Path], selection: Path | None = None) -> "Samples":
        """The samples of a selection (file or folder), or every stored picture with weight 1.

        `images` are folders of shards; a uid that several hold is read from the first that has the picture which was
        selected. Raises UserError for folders without shards, damaged shards, and uids of the selection that no shard
        holds.
        """
        return cls(images, selection)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, they are opened there: the columns of a large data set are too much to send."""
        return Samples, self._opened

    def __len__(self) -> int:
        return len(self._file)

    @cached_property
    def digest(self) -> str:
        """What these samples are, in their order: pictures, captions and weights; where they lie does not matter."""
        whole = hashlib.sha256()
        for column in (self.image_ids, self.weights, self.caption_counts):
            whole.update(np.ascontiguousarray(column).tobytes())
        for column in (self.uids, pc.list_flatten(self._captions)):
            for start in range(0, len(column), 65_536):
                part = pc.fill_null(column.slice(start, 65_536).cast(pa.string()), "")
                joined = pc.binary_join(pa.ListArray.from_arrays([0, len(part)], part), "\0")
                whole.update(joined[0].as_buffer())
        return whole.hexdigest()

    def uid(self, i: int) -> str:
        return self.uids[i].as_py()

    def captions(self, i: int) -> list[str]:
        return self._captions[i].as_py()

    def some_captions(self, most: int) -> list[str]:
        """All captions, or so many of them that a seed draws where there are more."""
        return drawn(pc.list_flatten(self._captions), most)

    def file(self, i: int) -> Path:
        """The shard that holds sample i."""
        return self.files[self._file[i]]

    def image_bytes(self, i: int) -> bytes:
        """The encoded picture as it is stored; any thread may ask."""
        return self._reader.read(self.file(i), int(self._offset[i]), int(self._length[i]))

    def close(self) -> None:
        self._reader.close()


def image_ids(sha256: pa.ChunkedArray) -> np.ndarray:
    """int64 [N]: the first 64 bits of each hex sha256."""
    return keys(sha256, SHA256_DIGITS).view(np.int64)


def text_id(caption: str) -> int:
    """A signed 64-bit name of a caption: equal captions, equal ids."""
    return key_of(caption) - 2**63
