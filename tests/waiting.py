"""Waiting for what must come. What hangs fails a test, what is slow does not."""

import time
from collections.abc import Callable
from typing import Any, Protocol

HANGS_S = 900.0
"""So long nothing takes on any machine that still works."""


class Process(Protocol):
    """Of `subprocess.Popen` and its like, what tells whether it has ended."""

    def poll(self) -> int | None: ...


def until(is_so: Callable[[], Any], process: Process | None = None, *, every_s: float = 0.02) -> None:
    """Wait until it is so; an assertion where that takes for ever, or where the process ends before."""
    give_up = time.monotonic() + HANGS_S
    while not is_so():
        assert process is None or process.poll() is None or is_so(), "it ended before"
        assert time.monotonic() < give_up
        time.sleep(every_s)
