"""One maker a result, many readers: advisory locks on files, which the system gives back however their holder ends."""

import errno
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO

from vlp_core.errors import UserError


class Lock:
    """A lock on `path`, exclusive or shared. `take` never waits; `holder` says who has it alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self, *, shared: bool = False, sign: bool = True) -> bool:
        """Whether it is ours now. `sign`: an exclusive holder writes into the file who it is."""
        if self._file is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise UserError(
                f"{self.path}: this file system keeps no locks ({error.strerror}); give --root on one that does"
            ) from error
        self._file = file
        if sign and not shared:
            self.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        return True

    def write(self, text: str) -> None:
        """What the file says of its holder."""
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

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
