"""How a command ends: its exit code, and one line for what the user may mend."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vlp_core.errors import UserError
from vlp_core.files import full_disk, no_space

OK, FAULT, USER_FAULT, INTERRUPTED = 0, 1, 2, 130


def ended(work: Callable[[], int], *, interrupted: str = "interrupted; the same command goes on from here") -> int:
    """The exit code of a command's work.

    0 done, 1 a fault of the program, 2 something for the user to mend, 130 interrupted; the last two are told.
    """
    try:
        return work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_FAULT
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED


@contextmanager
def disk_faults(root: Path) -> Iterator[None]:
    """In the block a full disk, or a root that may not be written, is a UserError."""
    try:
        yield
    except OSError as error:
        below = error.filename is not None and Path(str(error.filename)).is_relative_to(root)
        if not full_disk(error) and not (below and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)):
            raise
        raise unwritable(error, root) from error


def unwritable(error: OSError, root: Path) -> UserError:
    """What the user is told of a folder of results that takes nothing."""
    if full_disk(error):
        return UserError(no_space(root))
    return UserError(f"{error.filename or root}: {error.strerror or error}; give --root a folder that can be written")
