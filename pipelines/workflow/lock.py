"""One maker a result: an advisory lock on a file, which the system gives back however its holder ends."""

import errno
import fcntl
import json
import os
import socket
from pathlib import Path
from typing import IO

from vlp_core.errors import UserError


class Lock:
    """An exclusive lock on `path`. `take` never waits; `holder` says who has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self) -> bool:
        if self._file is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise UserError(
                f"{self.path}: this file system keeps no locks ({error.strerror}); give --root on one that does"
            ) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        self._file = file
        return True

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
