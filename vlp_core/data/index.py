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

from vlp_core.data import store
from vlp_core.data.adopted import Place, is_place, read_place
from vlp_core.data.layout import INDEX, SUCCESS
from vlp_core.data.tar import AHEAD, Read, TarError
from vlp_core.data.tar_headers import Run, members_in_runs
from vlp_core.data.tar_names import FORMATS, pictures_among, pictures_in_run
from vlp_core.data.tar_names import parted_name as parted_name
from vlp_core.errors import UserError, first_line, public_text

PICTURES = FORMATS
ROW_GROUP = 32  # rows in a row group of a Parquet shard: what one random read costs at most


def index_tar(tar: Path) -> pa.Table:
    """Byte offset and length of the data of each picture of a tar, by reading headers only.

    A key is a member's name up to the first dot after the last slash, as in WebDataset. Raises UserError for a tar
    that is missing, truncated, compressed or not one.
    """
    try:
        with store.reading(str(tar)) as read:
            return index_pictures(read, tar.stat().st_size)
    except FileNotFoundError:
        raise UserError(f"{tar}: no such tar; fetch this shard again") from None
    except TarError as error:
        raise UserError(f"{tar}: truncated or not a tar ({error}); delete the shard and fetch it again") from None


def index_pictures(read: Read, size: int, *, ahead: int = AHEAD) -> pa.Table:
    """As `index_tar`, of a tar of so many bytes wherever it lies. Raises TarError."""
    runs = members_in_runs(read, size, ahead=ahead)
    found = [pictures_in_run(run) if isinstance(run, Run) else pictures_among(run) for run in runs]
    return pa.concat_tables(found).combine_chunks()


def index_rows(tar: Path, rows: pa.Table) -> pa.Table:
    """INDEX of a tar: the rows (IMAGES) of its shard that succeeded, in their order.

    Raises UserError where such a row has no picture in the tar.
    """
    return index_found(str(tar), index_tar(tar), rows)


def index_found(tar: str, found: pa.Table, rows: pa.Table) -> pa.Table:
    """As `index_rows`, of a tar whose TAR_INDEX is known."""
    rows = rows.filter(pc.equal(rows["status"], SUCCESS))
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

    def __init__(self, path: Path | str, size: int | None = None) -> None:
        """OSError where it is not there, or has not the `size` that it should have."""
        self.fd = -1
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(self.fd).st_size
        if size is not None and size != found:
            raise OSError(f"{found} bytes where there were {size}")

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class _RowGroups:
    """An open Parquet shard of pictures, and in which row group each row lies."""

    def __init__(self, path: Path | str) -> None:
        self.file = pq.ParquetFile(store.open_binary(str(path)))
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
    A file may be one that says where the pictures lie (`vlp_core.data.adopted`): they are read there, from remote
    stores by ranges.
    """

    def __init__(self, *, open_files: int = 64, row_groups: int = 8) -> None:
        self._sizes = {"open_files": open_files, "row_groups": row_groups}
        self._lock = Lock()
        self._descriptors: _Recent[_Descriptor] = _Recent(open_files)
        self._places: _Recent[Place] = _Recent(open_files)
        self._chunks = store.Chunks()
        self._parquet_lock = Lock()
        self._parquet: _Recent[_RowGroups] = _Recent(open_files)
        self._groups: _Recent[pa.ChunkedArray] = _Recent(row_groups)

    def __reduce__(self) -> tuple[Callable[[], "Reader"], tuple[()]]:
        """Sent to another process, it opens its own files there."""
        return partial(Reader, **self._sizes), ()

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Raises UserError where the file is gone or does not hold these bytes."""
        if is_place(path):
            return self._elsewhere(path, offset, length)
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
            self._places.clear()
        with self._parquet_lock:
            self._groups.clear()
            self._parquet.clear()

    def _elsewhere(self, path: Path, offset: int, length: int) -> bytes:
        file, again = str(path), "where it moved or changed, make the step again that adopted it"
        try:
            with self._lock:
                place = self._places.get(path, lambda: read_place(path))
            file = place.file if place.files is None else place.files[offset].as_py()
            body = self._at(place, offset, length) if place.files is None else store.read_bytes(file)
        except (OSError, IndexError, pa.ArrowInvalid) as error:
            reason = first_line(error)
            raise UserError(f"{public_text(file)}: cannot read picture {offset} ({reason}); {again}") from error
        if len(body) != length:
            raise UserError(f"{public_text(file)}: {len(body)} of {length} bytes of picture {offset}; {again}")
        return body

    def _at(self, place: Place, offset: int, length: int) -> bytes:
        if place.column is not None:
            return self._row(place.file, offset, place.column)
        if store.is_url(place.file):
            return self._chunks.read(place.file, offset, length)
        return self._bytes(place.file, offset, length, place.size)

    def _bytes(self, path: Path | str, offset: int, length: int, size: int | None = None) -> bytes:
        with self._lock:
            descriptor = self._descriptors.get(path, lambda: _Descriptor(path, size))
        return os.pread(descriptor.fd, length, offset)

    def _row(self, path: Path | str, row: int, column: str = "image") -> bytes:
        with self._parquet_lock:  # a ParquetFile is not for two threads at once
            shard = self._parquet.get(path, lambda: _RowGroups(path))
            group, within = shard.find(row)
            images = self._groups.get((path, group), lambda: shard.file.read_row_group(group, columns=[column])[column])
        return images[within].as_py()
