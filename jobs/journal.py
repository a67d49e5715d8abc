"""What became of each link of a shard, on disk as soon as it is known: a kill costs no answer that had come.

journal    a line of JSON a link, in the order in which they came
spill      the pictures, in that order: a slow link holds up neither memory nor the links after it
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fcntl import LOCK_EX
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Self

from vlp_core.files import flock
from vlp_core.identity import sha256_of

JOURNAL, SPILL = "journal", "spill"
Place = tuple[int, int]
"""Where a picture lies in the spill: its first byte and how many it has."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The columns of IMAGES and LEDGER that asking a link finds out, and where its picture lies in the spill."""

    status: str
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    sha256: str | None = None  # of the body as it came, whatever it was
    bytes: int | None = None
    format: str | None = None
    attempts: int
    asked: int  # milliseconds since 1970, at the answer
    http_status: int | None = None
    final_url: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    place: Place | None = None
    stored: str | None = None  # sha256 of what lies there


class Journal:
    """The journal and the spill in a folder, which nobody else has as long as this one is open. Safe in threads."""

    def __init__(self, folder: Path) -> None:
        """Make them, or go on with those that an attempt before left. BlockingIOError where somebody has them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._lock = folder, Lock()
        try:
            self._log, self._spill = _locked(folder)
        except FileNotFoundError:
            raise BlockingIOError(f"{folder}: another worker is removing it") from None
        self._log_end = self._read().rfind(b"\n") + 1  # a kill may have cut the line after it
        self._log.truncate(self._log_end)
        self._spill_end = os.fstat(self._spill.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._log.close()
        self._spill.close()

    def remove(self) -> None:
        """Close them for good: their shard is published."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.close()

    def put(self, row: int, uid: str, outcome: Outcome, picture: bytes | None = None) -> None:
        """Write down what became of a row, and its picture."""
        digest = None if picture is None else sha256_of(picture)
        with self._lock:  # where a write fails, the next one goes to the same place
            if picture is not None:
                outcome = replace(outcome, place=(self._spill_end, len(picture)), stored=digest)
                self._spill_end = _write(self._spill.fileno(), picture, self._spill_end)
            told = {name: value for name, value in vars(outcome).items() if value is not None}
            line = json.dumps({"row": row, "uid": uid, **told}).encode() + b"\n"
            self._log_end = _write(self._log.fileno(), line, self._log_end)

    def picture(self, place: Place) -> bytes:
        offset, length = place
        return os.pread(self._spill.fileno(), length, offset)

    def known(self, uids: Sequence[str], *, check: bool = False) -> list[Outcome | None]:
        """What became of each row of a shard, given by uid; None where that is not known.

        With `check`, as what an attempt before left needs it, a row whose picture is not whole is not known.
        """
        known: list[Outcome | None] = [None] * len(uids)
        for row, uid, outcome in self._lines():
            if row < len(uids) and uids[row] == uid and not (check and self._is_damaged(outcome)):
                known[row] = outcome
        return known

    def _is_damaged(self, outcome: Outcome) -> bool:
        return outcome.place is not None and sha256_of(self.picture(outcome.place)) != outcome.stored

    def _lines(self) -> Iterator[tuple[int, str, Outcome]]:
        for line in self._read()[: self._log_end].splitlines():
            try:
                told = json.loads(line)
                row, uid, place = told.pop("row"), told.pop("uid"), told.pop("place", None)
                yield row, uid, Outcome(**told, place=place and (place[0], place[1]))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a power cut may leave anything; such a row is asked again

    def _read(self) -> bytes:
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)


def _locked(folder: Path) -> tuple[FileIO, FileIO]:
    """The journal, locked, and the spill; nothing stays open where one cannot be had."""
    with ExitStack() as stack:
        log = stack.enter_context(_opened(folder / JOURNAL))
        if not flock(log, LOCK_EX):
            raise BlockingIOError(f"{folder}: another worker has it")
        spill = _opened(folder / SPILL)
        stack.pop_all()
        return log, spill


def _opened(path: Path) -> FileIO:
    path.touch()
    return path.open("rb+", buffering=0)


def _write(fd: int, body: bytes, at: int) -> int:
    """Write all of a body at an offset; returns where it ends."""
    view = memoryview(body)
    while view:  # a raw write may be short
        written = os.pwrite(fd, view, at)
        at, view = at + written, view[written:]
    return at
