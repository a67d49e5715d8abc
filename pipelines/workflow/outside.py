"""Digests of files that come from outside; a file that has not changed since is not read again."""

import contextlib
import json
from pathlib import Path

from vlp_core.errors import UserError
from vlp_core.files import write_text
from vlp_core.identity import digest_of, sha256_of_file

Stamp = list[int]


def stamp_of(path: Path) -> Stamp:
    """Size, times of change and inode: what tells that a file is the one that was read."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


class Digests:
    """sha256 by path, remembered with the file's stamp in `memory`."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, tuple[Stamp, str]] = {}
        self._changed = False
        try:
            self._known = {key: (stamp, digest) for key, (stamp, digest) in json.loads(memory.read_text()).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._known = {}  # a memory only: what it does not know is read

    def of(self, path: Path) -> str:
        """The digest of a file, or of a folder's files by name. Raises UserError when there is nothing."""
        path = path.absolute()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return digest_of({str(file.relative_to(path)): self._of_file(file) for file in files})
        return self._of_file(path)

    def _of_file(self, path: Path) -> str:
        try:
            stamp = stamp_of(path)
            known = self._known.get(str(path))
            if known is not None and known[0] == stamp:
                return known[1]
            digest = sha256_of_file(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; check the path") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
        self._known[str(path)] = (stamp, digest)
        self._changed = True
        return digest

    def save(self) -> None:
        """Write the memory where it changed; a disk that takes no more costs a reading, not a run."""
        if self._changed:
            with contextlib.suppress(OSError):
                write_text(self._memory, json.dumps(self._known, sort_keys=True))
                self._changed = False
