"""`python bound.py PID COMMAND…` becomes COMMAND, which the system asks to end as soon as process PID is gone.

So nothing that a scheduler began outlives a `kill -9` of it. A program of its own, for what runs between fork and exec
in a process with threads may hang.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    with suppress(AttributeError):  # where the system is not Linux the command outlives it, and holds its lock
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit("its scheduler is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
