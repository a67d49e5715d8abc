"""A tar's members by their headers alone: ustar, GNU long names and numbers, pax records (POSIX.1-2001)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple
from zlib import adler32

BLOCK = 512
_END = bytes(BLOCK)
_PLAIN = frozenset(b"0\x007")
_LINKS_AND_NODES = frozenset(b"123456")  # member types that have no data whatever their size field says
_EXTENDED = frozenset(b"LKxg")
_PAX = ord("x")
AHEAD = 2**13  # bytes read at once: what lies between one picture and the next is little
_ADLER = 65521
_DIGITS = 20  # of a number in a pax record; Python refuses to read some thousands

Read = Callable[[int, int], bytes]
"""Bytes of a file by offset and length; fewer where it ends."""


class TarError(Exception):
    """Why a file is no whole tar."""


class Member(NamedTuple):
    """A regular file in a tar: where its data starts and how many bytes it has."""

    name: str
    offset: int
    length: int


def members_of(read: Read, end: int, *, ahead: int = AHEAD) -> Iterator[Member]:
    """The regular files of a tar of `end` bytes, in order; it is read forwards, `ahead` bytes at once.

    The standard library's reader is some twenty times slower. Raises TarError where a header is damaged, data is cut
    off or the end-of-archive mark is missing.
    """
    yield from members_from(Window(read, ahead), end, 0, {})


def members_from(window: "Window", end: int, position: int, defaults: dict[str, str]) -> Iterator[Member]:
    """As `members_of`, from the header at `position` on.

    `defaults` is what a global pax header says of all that follow; those that are met are added to it.
    """
    overrides: dict[str, str] = {}  # what extended headers say of the next member
    while True:
        header = window.bytes(position, BLOCK)
        if header == _END:
            return
        _check(header, position)
        kind = header[156]
        known = {**defaults, **overrides} if overrides or defaults else overrides
        if "size" in known and kind not in _EXTENDED:
            length = _size(known["size"])
        else:
            length = 0 if kind in _LINKS_AND_NODES else _number(header[124:136])
        start = position + BLOCK
        position = next_header(start, length)
        if length < 0:
            raise TarError(f"a size below nothing at byte {start - BLOCK}")
        if start + length > end:
            raise TarError(f"it ends {start + length - end} bytes inside a member")
        if kind in _PLAIN:
            yield Member(known.get("path") or _name(header), start, length)
            overrides = {}
        elif kind == _PAX:
            overrides |= _pax(window.bytes(start, length))
        elif kind == ord("L"):
            overrides["path"] = _text(window.bytes(start, length))
        elif kind == ord("g"):
            defaults |= _pax(window.bytes(start, length))
        elif kind != ord("K"):
            overrides = {}


def next_header(start: int, length: int) -> int:
    """Where the header after so many bytes of data from `start` on is."""
    return start + -(-length // BLOCK) * BLOCK


class Window:
    """What was read last of a file, and the bytes after it."""

    def __init__(self, read: Read, ahead: int) -> None:
        self._read, self._ahead = read, ahead
        self.start, self.body = 0, b""

    def hold(self, offset: int, length: int) -> None:
        """Have these bytes of the file in `body`, which begins at `start`; fewer where it ends."""
        at = offset - self.start
        if at < 0 or at + length > len(self.body):
            self.start, self.body = offset, self._read(offset, max(length, self._ahead))

    def bytes(self, offset: int, length: int) -> bytes:
        self.hold(offset, length)
        at = offset - self.start
        return self.body[at : at + length]


def _check(header: bytes, position: int) -> None:
    if len(header) < BLOCK:
        raise TarError(f"it ends at byte {position + len(header)}, without an end-of-archive mark")
    # The checksum is the sum of all bytes, its own eight counted as spaces. Adler's first half is that sum and 1, in a
    # tenth of the time that adding them up takes here.
    own = header[148:156]
    if (adler32(header) % 65536 + 255 - sum(own) - _number(own)) % _ADLER:
        raise TarError(f"no tar header at byte {position}")


def _number(field: bytes) -> int:
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        if field[0] & 0x80:  # GNU: base 256 where eight gigabytes of octal digits are too few
            return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        raise TarError(f"a damaged number in a header: {field!r}") from None


def _size(digits: str) -> int:
    if not digits.isdecimal() or len(digits) > _DIGITS:
        raise TarError(f"a damaged size in a pax record: {digits!r}")
    return int(digits)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")  # Arrow takes no surrogates


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _pax(body: bytes) -> dict[str, str]:
    """Records `length key=value\\n`; the length counts the whole record. Those of no use here are passed over."""
    records: dict[str, str] = {}
    if b"path=" not in body and b"size=" not in body:  # img2dataset's tars have a time alone, of every member
        return records
    while body.strip(b"\0"):
        digits, _, _ = body.partition(b" ")
        if not digits.isdigit() or len(digits) > _DIGITS or not len(digits) + 1 < int(digits) <= len(body):
            raise TarError(f"a damaged pax record: {body[:20]!r}")
        record, body = body[len(digits) + 1 : int(digits) - 1], body[int(digits) :]
        key, _, value = record.partition(b"=")
        records[key.decode("utf-8", "replace")] = _text(value)
    return records
