"""Bytes of pictures that are purged, where they lie: zeros in their place, so that every other offset holds."""

import os
from collections.abc import Collection
from pathlib import Path

from vlp_core.data.index import parted_name
from vlp_core.data.purged import TAKEN_MEMBER
from vlp_core.data.tar import BLOCK, Member, members_of

_AHEAD = 2**16
_NAME, _SUM, _SUM_END, _PREFIX, _PREFIX_END = 100, 148, 156, 345, 500
_ZEROS = bytes(2**20)


def check_tar(tar: Path) -> None:
    """Raises TarError and OSError where `purge_tar` would, before anything is done."""
    fd = os.open(tar, os.O_RDWR)
    try:
        _members(fd)
    finally:
        os.close(fd)


def purge_tar(tar: Path, keys: Collection[str]) -> int:
    """Write zeros over all members of these keys, and a name that says nothing; how many bytes there were.

    A kill at any time leaves a whole tar; what was done already is found no more. Raises TarError and OSError.
    """
    purged = 0
    fd = os.open(tar, os.O_RDWR)
    try:
        for name, offset, length in _members(fd):
            if parted_name(name)[0] in keys:
                write_zeros(fd, offset, length)
                os.fsync(fd)  # before the name goes by which it would be found again
                os.pwrite(fd, _unnamed(os.pread(fd, BLOCK, offset - BLOCK)), offset - BLOCK)
                purged += length
        os.fsync(fd)
    finally:
        os.close(fd)
    return purged


def _members(fd: int) -> list[Member]:
    return list(members_of(lambda at, size: os.pread(fd, size, at), os.fstat(fd).st_size, ahead=_AHEAD))


def _unnamed(header: bytes) -> bytes:
    """The header of a member with a name that says nothing (POSIX.1-2001, ustar interchange format)."""
    new = bytearray(header)
    new[:_NAME] = TAKEN_MEMBER.encode().ljust(_NAME, b"\0")
    if header[257:262] == b"ustar":
        new[_PREFIX:_PREFIX_END] = bytes(_PREFIX_END - _PREFIX)
    new[_SUM:_SUM_END] = b" " * 8
    new[_SUM:_SUM_END] = b"%06o\0 " % sum(new)
    return bytes(new)


def write_zeros(fd: int, offset: int, length: int) -> None:
    while length > 0:
        written = os.pwrite(fd, _ZEROS[:length], offset)
        offset, length = offset + written, length - written
