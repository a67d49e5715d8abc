"""Bytes of pictures that are purged, where they lie: zeros in their place, so that every other offset holds."""

import json
import os
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from vlp_core.data.index import parted_name
from vlp_core.data.purged import TAKEN_MEMBER
from vlp_core.data.takedowns import Takedowns
from vlp_core.data.tar import BLOCK, Member, members_of
from vlp_core.files import write_bytes

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
                _write_zeros(fd, offset, length)
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


def purge_journal(work: Path, uids: Collection[str], down: Takedowns) -> int:
    """Take answers of these links, and what tombstones name by body or by who answered, out of the journal of a shard
    that is not whole yet, and their pictures out of its spill; how many bytes these had. Nobody may be at work there.
    """
    try:
        lines = (work / "journal").read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    told_of = [_told(line) or {} for line in lines]
    named = down.of_urls(_said(told_of, "final_url")) | down.of_pictures(_said(told_of, "sha256"))
    kept, purged = [], 0
    fd = os.open(work / "spill", os.O_RDWR | os.O_CREAT)
    try:
        for line, told, gone in zip(lines, told_of, named, strict=True):
            if not (gone or told.get("uid") in uids):
                kept.append(line)
            elif told.get("place"):
                offset, length = told["place"]
                _write_zeros(fd, offset, length)
                purged += int(length)
        os.fsync(fd)
    finally:
        os.close(fd)
    if len(kept) < len(lines):
        write_bytes(work / "journal", b"".join(kept))
    return purged


def _said(told_of: list[dict], name: str) -> pa.Array:
    return pa.array([told.get(name) for told in told_of], pa.string())


def _told(line: bytes) -> dict | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None  # cut by a kill: nobody reads it any more, and the row is asked again
    return told if isinstance(told, dict) else None


def _write_zeros(fd: int, offset: int, length: int) -> None:
    while length > 0:
        written = os.pwrite(fd, _ZEROS[:length], offset)
        offset, length = offset + written, length - written
