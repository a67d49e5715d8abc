"""One maker a result, many readers: advisory locks on files, which the system gives back however their holder ends."""

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO

from vlp_core.files import flock


class Lock:
    """A lock on `path`, exclusive or shared. `take` never waits; `holder` says who has it alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._signed = False

    def take(self, *, shared: bool = False) -> bool:
        """Whether it is ours now. Raises UserError on a file system that keeps no locks."""
        if self._file is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        if not flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            file.close()
            return False
        self._file = file
        return True

    def sign(self) -> None:
        """Write into the file who holds it alone, until it is released."""
        self.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        self._signed = True

    def write(self, text: str) -> None:
        """What the file says while and after it is held."""
        assert self._file is not None
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()

    def holder(self) -> str:
        try:
            held = json.loads(self.path.read_text())
            return f"process {held['pid']} on {held['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def is_free(self) -> bool:
        """Whether nobody holds it alone; a file that is not there stays away."""
        try:
            with self.path.open() as file:
                return flock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def fileno(self) -> int:
        """The open file, for a process that is to hold the lock as well: it is free when the last holder is gone."""
        assert self._file is not None
        return self._file.fileno()

    def release(self) -> None:
        if self._file is not None:
            if self._signed:
                self.write("")
                self._signed = False
            self._file.close()
            self._file = None
