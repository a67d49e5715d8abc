"""Files that are there whole or not at all."""

import errno
import fcntl
import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlp_core.errors import UserError


@contextmanager
def replacing(path: Path, *, once: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well, and is removed when it does not.

    `once`: FileExistsError where there is such a file by then; of several that write it one does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if once:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def remove_leftovers(*folders: Path) -> None:
    """Remove the temporary files of an attempt that was killed; its last tasks may be at it still, and do so too."""
    for folder in folders:
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def write_bytes(path: Path, body: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(body)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_table(
    path: Path, table: pa.Table, *, row_group_size: int = 65_536, plain: Collection[str] = frozenset()
) -> None:
    """A Parquet file: zstd, the same bytes for the same table.

    Columns in which hardly a value comes twice are written faster, and smaller, when they are said to be `plain`.
    """
    listed = [name for name in table.column_names if name not in plain] if plain else True
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=row_group_size, use_dictionary=listed)


def wide(table: pa.Table) -> pa.Table:
    """The same columns with offsets of 64 bits: text and lists beyond 2 GiB need them once they are one array."""
    return table.cast(pa.schema([column.with_type(_wide(column.type)) for column in table.schema]))


def _wide(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_binary(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_wide(kind.value_type)))
    return kind


def full_disk(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, has no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_space(path: Path) -> str:
    """What the user is told of a full disk, in one line."""
    return f"{path}: no space left; free some or give --root on another disk (what is finished is kept)"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """An exclusive lock on `path` for what takes a moment: waits for whoever has it, gives it back however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        flock(file, fcntl.LOCK_EX, wait=True)
        yield


def flock(file: IO[Any], how: int, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed, `how`: LOCK_SH or LOCK_EX. Whether it is locked now.

    Raises UserError on a file system that keeps no locks.
    """
    try:
        fcntl.flock(file, how if wait else how | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise UserError(
            f"{file.name}: this file system keeps no locks ({error.strerror}); give --root on one that does"
        ) from error
