"""Writes a tar as WebDataset reads it, the same bytes for the same members: plain headers, times and owners zero."""

from pathlib import Path
from types import TracebackType
from typing import Self

from vlp_core.data.tar import BLOCK

_RECORD = 20 * BLOCK  # POSIX.1-2001: a tar ends with two empty blocks and fills its last record
# What stands in a header around the name (100 bytes), the size (12) and the sum of all bytes (8, counted as spaces).
_BEFORE, _AFTER = b"0000444\x000000000\x000000000\x00", b"00000000000\x00"
_END = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
_SUM = sum(_BEFORE + _AFTER + b" " * 8 + _END)


class TarWriter:
    """A tar at `path`, as a context manager. The standard library's takes some ten times as long for a header."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=2**20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.write(bytes(2 * BLOCK))
                self._file.write(bytes(-self._file.tell() % _RECORD))

    def add(self, name: str, body: bytes) -> None:
        """A regular file; its name has at most 100 bytes, its body less than 8 GiB."""
        named, size = name.encode(), b"%011o\x00" % len(body)
        if len(named) > 100 or len(size) > 12:
            raise ValueError(f"{name}: too long a name, or too large a file, for a plain tar")
        total = b"%06o\x00 " % (_SUM + sum(named) + sum(size))
        self._file.write(b"".join((named, bytes(100 - len(named)), _BEFORE, size, _AFTER, total, _END)))
        self._file.write(body)
        self._file.write(bytes(-len(body) % BLOCK))
