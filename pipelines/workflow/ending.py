"""How a command ends: its exit code, and one line for what the user may mend."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vlp_core.errors import UserError
from vlp_core.files import full_disk, no_space

OK, FAULT, USER_FAULT, USAGE_FAULT, INTERRUPTED = 0, 1, 2, 64, 130


class UsageError(UserError):
    """A command line that is wrong whatever the world is like: the same one will never do."""


def ended(work: Callable[[], int], *, interrupted: str = "interrupted; the same command goes on from here") -> int:
    """The exit code of a command's work.

    0 done, 1 a fault of the program, 2 something for the user to mend, which may also pass by itself, 64 a command
    line that is wrong (a flag that is none, a value that it does not take), 130 interrupted; the last three are told.
    """
    try:
        return work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_FAULT if isinstance(error, UsageError) else USER_FAULT
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
