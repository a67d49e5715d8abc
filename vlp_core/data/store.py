"""Files by path or url: on a local disk, or on any store that fsspec knows (s3://, gs://, https://, memory://, …)."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from threading import Lock
from typing import Any, TypeVar

from vlp_core.errors import UserError, first_line, public_text

Answer = TypeVar("Answer")

CHUNK = 2**20  # bytes of a remote file that are fetched at once: neighbours are asked for in runs
_TRIES, _PAUSE_S = 4, 0.5
_STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, order=True)
class Entry:
    """What a folder holds: a name, the size in bytes (-1: a folder), and what changes when the file does."""

    name: str
    size: int
    stamp: str

    @property
    def is_folder(self) -> bool:
        return self.size < 0


def location(text: str) -> str:
    """An absolute path, or a url as it is; `file://` is a path."""
    if not is_url(text):
        return str(Path(text).absolute())
    return text.removeprefix("file://") if text.startswith("file:///") else text


def is_url(text: str) -> bool:
    return "://" in text


def joined(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def parted(place: str) -> tuple[str, str]:
    """The folder and the name of a path or url."""
    folder, _, name = place.rstrip("/").rpartition("/")
    return folder or "/", name


def entries(folder: str) -> dict[str, Entry] | None:
    """What stands directly in a folder, by name; None where there is no such folder."""
    if not is_url(folder):
        if not Path(folder).is_dir():
            return None
        with os.scandir(folder) as found:
            names = sorted(item.name for item in found)
        here = (_local(name, joined(folder, name)) for name in names)
        return {entry.name: entry for entry in here if entry is not None}
    files, path = _opened(folder)
    try:
        rows = _patient(folder, lambda: files.ls(path, detail=True))
    except FileNotFoundError:
        return None
    named = (_remote(row) for row in rows if row["name"].rstrip("/") != path.rstrip("/"))
    return {entry.name: entry for entry in sorted(named)} or None


def entry(place: str) -> Entry | None:
    """One file or folder; None where there is none."""
    if not is_url(place):
        return _local(parted(place)[1], place)
    files, path = _opened(place)
    try:
        return _remote(_patient(place, lambda: files.info(path)))
    except FileNotFoundError:
        return None


def read_bytes(place: str, start: int | None = None, end: int | None = None) -> bytes:
    """A file, or its bytes from `start` to `end`. OSError where it cannot be read."""
    if is_url(place):
        files, path = _opened(place)
        body: bytes = _patient(place, lambda: files.cat_file(path, start=start, end=end))
        if end is not None and len(body) > end - (start or 0):
            raise OSError("the server gives files as a whole alone, no ranges of bytes")
        return body
    with open(place, "rb") as file:
        file.seek(start or 0)
        return file.read() if end is None else file.read(end - (start or 0))


@contextmanager
def reading(place: str) -> Iterator[Callable[[int, int], bytes]]:
    """A function of offset and length that reads an open file, wherever it lies."""
    if is_url(place):
        yield lambda offset, length: read_bytes(place, offset, offset + length)
        return
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield lambda offset, length: os.pread(fd, length, offset)
    finally:
        os.close(fd)


def open_binary(place: str) -> Any:
    """A file that can be sought in."""
    if not is_url(place):
        return open(place, "rb")
    files, path = _opened(place)
    return _patient(place, lambda: files.open(path, "rb", block_size=CHUNK))


class Chunks:
    """Ranges of remote files, fetched by chunks of which the last `keep` are kept; any thread may ask."""

    def __init__(self, keep: int = 64) -> None:
        self._keep, self._lock = keep, Lock()
        self._chunks: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()

    def read(self, place: str, offset: int, length: int) -> bytes:
        numbers = range(offset // CHUNK, -(-(offset + length) // CHUNK))
        body = b"".join(self._chunk(place, number) for number in numbers)
        start = offset % CHUNK
        return body[start : start + length]

    def _chunk(self, place: str, number: int) -> bytes:
        key = place, number
        with self._lock:
            chunk = self._chunks.get(key)
            mine = chunk is None
            if chunk is None:
                chunk = self._chunks[key] = Future()
                if len(self._chunks) > self._keep:
                    self._chunks.popitem(last=False)
            self._chunks.move_to_end(key)
        if mine:
            try:
                chunk.set_result(read_bytes(place, number * CHUNK, (number + 1) * CHUNK))
            except BaseException as error:
                with self._lock:
                    self._chunks.pop(key, None)
                chunk.set_exception(error)
        return chunk.result()


def _local(name: str, path: str) -> Entry | None:
    try:
        status = Path(path).stat()
    except FileNotFoundError:  # or a link to nowhere
        return None
    return Entry(name, -1 if S_ISDIR(status.st_mode) else status.st_size, str(status.st_mtime_ns))


def _remote(row: dict[str, Any]) -> Entry:
    stamp = next((str(row[name]) for name in _STAMPS if row.get(name)), "")
    size = -1 if row["type"] == "directory" else int(row["size"] or 0)
    return Entry(parted(row["name"])[1], size, stamp)


def _opened(place: str) -> tuple[Any, str]:
    """The file system of a url, and the path there. UserError where fsspec does not know it or lacks a package."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise UserError(f"{public_text(place)}: no such store can be opened here ({first_line(error)})") from error


def _patient(place: str, work: Callable[[], Answer]) -> Answer:
    """Try a few times: a store of many machines fails now and then. What is not there, or not ours to read, is not
    asked for again. Whatever a store's package raises becomes an OSError."""
    for attempt in range(_TRIES):
        try:
            return work()
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            raise
        except Exception as error:
            if attempt == _TRIES - 1:
                raise OSError(f"{public_text(place)}: {first_line(error)}") from error
            time.sleep(_PAUSE_S * 2**attempt)
    raise AssertionError
