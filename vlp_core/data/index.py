"""Where each picture's bytes lie, and reading them there: a sample is read without its neighbours."""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.data.layout import INDEX, SUCCESS
from vlp_core.data.tar import TarError, members
from vlp_core.errors import UserError

PICTURES = frozenset({"jpg", "jpeg", "png", "webp"})
TAR_INDEX = pa.schema([("key", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])
ROW_GROUP = 32  # rows in a row group of a Parquet shard: what one random read costs at most


def index_tar(tar: Path) -> pa.Table:
    """Byte offset and length of the data of each picture of a tar, by reading headers only.

    A key is a member's name up to the first dot after the last slash, as in WebDataset. Raises UserError for a tar
    that is missing, truncated, compressed or not one.
    """
    keys: list[str] = []
    offsets: list[int] = []
    lengths: list[int] = []
    try:
        for name, offset, length in members(tar):
            key, extension = _split(name)
            if extension in PICTURES:
                keys.append(key)
                offsets.append(offset)
                lengths.append(length)
    except FileNotFoundError:
        raise UserError(f"{tar}: no such tar; fetch this shard again") from None
    except TarError as error:
        raise UserError(f"{tar}: truncated or not a tar ({error}); delete the shard and fetch it again") from None
    return pa.table([keys, offsets, lengths], schema=TAR_INDEX)


def _split(name: str) -> tuple[str, str]:
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def index_rows(tar: Path, rows: pa.Table) -> pa.Table:
    """INDEX of a tar: the rows (IMAGES) of its shard that succeeded, in their order.

    Raises UserError where such a row has no picture in the tar.
    """
    rows = rows.filter(pc.equal(rows["status"], SUCCESS))
    found = index_tar(tar)
    at = pc.index_in(rows["key"], value_set=found["key"].combine_chunks())
    if at.null_count:
        missing = rows["key"].filter(pc.is_null(at))
        raise UserError(
            f"{tar}: {len(missing)} pictures of its Parquet are not in it, such as {missing[0]}; fetch it again"
        )
    places = found.take(at)
    columns = [rows["uid"], rows["sha256"], places["offset"], places["length"], rows["captions"]]
    return pa.table(columns, names=INDEX.names).cast(INDEX)


Value = TypeVar("Value")


class _Recent(Generic[Value]):
    """The `size` values used last; not thread safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[object, Value] = OrderedDict()

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
        else:
            self._values[key] = make()
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return self._values[key]

    def clear(self) -> None:
        self._values.clear()


class _Descriptor:
    """An open file that closes when the last one who reads it lets go: eviction never closes under a reader."""

    def __init__(self, path: Path) -> None:
        self.fd = -1
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class _RowGroups:
    """An open Parquet shard of pictures, and in which row group each row lies."""

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(path)
        metadata = self.file.metadata
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self.starts = list(accumulate(sizes, initial=0))

    def find(self, row: int) -> tuple[int, int]:
        group = bisect_right(self.starts, row) - 1
        if not 0 <= row < self.starts[-1]:
            raise IndexError(row)
        return group, row - self.starts[group]


class Reader:
    """Pictures' bytes by (file, offset, length), from any thread; keeps at most `open_files` files open.

    In a tar, `offset` counts bytes; in a Parquet shard, rows. A few row groups are kept, for neighbours come in runs.
    """

    def __init__(self, *, open_files: int = 64, row_groups: int = 8) -> None:
        self._sizes = {"open_files": open_files, "row_groups": row_groups}
        self._lock = Lock()
        self._descriptors: _Recent[_Descriptor] = _Recent(open_files)
        self._parquet_lock = Lock()
        self._parquet: _Recent[_RowGroups] = _Recent(open_files)
        self._groups: _Recent[pa.ChunkedArray] = _Recent(row_groups)

    def __reduce__(self) -> tuple[Callable[[], "Reader"], tuple[()]]:
        """Sent to another process, it opens its own files there."""
        return partial(Reader, **self._sizes), ()

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Raises UserError where the file is gone or does not hold these bytes."""
        try:
            body = self._row(path, offset) if path.suffix == ".parquet" else self._bytes(path, offset, length)
        except (OSError, IndexError, pa.ArrowInvalid) as error:
            raise UserError(
                f"{path}: cannot read picture {offset} ({error}); the shard is damaged: fetch it again"
            ) from error
        if len(body) != length:
            raise UserError(f"{path}: {len(body)} of {length} bytes at {offset}; it is damaged: fetch this shard again")
        return body

    def close(self) -> None:
        with self._lock:
            self._descriptors.clear()
        with self._parquet_lock:
            self._groups.clear()
            self._parquet.clear()

    def _bytes(self, path: Path, offset: int, length: int) -> bytes:
        with self._lock:
            descriptor = self._descriptors.get(path, lambda: _Descriptor(path))
        return os.pread(descriptor.fd, length, offset)

    def _row(self, path: Path, row: int) -> bytes:
        with self._parquet_lock:  # a ParquetFile is not for two threads at once
            shard = self._parquet.get(path, lambda: _RowGroups(path))
            group, within = shard.find(row)
            images = self._groups.get(
                (path, group), lambda: shard.file.read_row_group(group, columns=["image"])["image"]
            )
        return images[within].as_py()
