"""Calls to a store that may be away: made in order, at once or later, and not again once they succeeded."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vlp_core.files import full_disk

PAUSE_S = 30.0  # after a call that failed
MOST_WAITING = 20_000
# Codes of MLflow for trouble that may pass; with any other code a call would fail again just so.
PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
PASSING_STATUS = {408, 429}  # of HTTP, and all from 500


@dataclass
class Later:
    """A queue of calls. One that fails in a way that may pass waits at its head and is tried again after a pause."""

    tell: Callable[[Exception], None]
    """Called with each failure."""
    refused: int = 0
    """Calls that were given up: the store will never take them, or too many waited."""
    _waiting: deque[Callable[[], Any]] = field(default_factory=deque)
    _quiet_until: float = 0.0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def do(self, call: Callable[[], Any]) -> None:
        """Make a call after those that wait: now, if the store takes any."""
        if len(self._waiting) >= MOST_WAITING:
            self.refused += 1
            return
        self._waiting.append(call)
        self.make()

    def make(self, *, now: bool = False) -> None:
        """Make the calls that wait, as far as the store takes them; `now`: though it failed a moment ago."""
        if now:
            self._quiet_until = 0.0
        while self._waiting and time.monotonic() >= self._quiet_until:
            try:
                self._waiting[0]()
            except Exception as error:
                self.tell(error)
                if may_pass(error):
                    self._quiet_until = time.monotonic() + PAUSE_S
                    return
                self.refused += 1
            self._waiting.popleft()

    def finish(self, seconds: float) -> None:
        """Try for so long to have none left."""
        give_up = time.monotonic() + seconds
        self.make(now=True)
        while self._waiting and time.monotonic() < give_up:
            time.sleep(1.0)
            self.make(now=True)


def may_pass(error: Exception) -> bool:
    """Whether the same call may succeed later: the store is away or busy, and not of another mind."""
    code = getattr(error, "error_code", None)
    if code is not None:
        return code in PASSING
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return status in PASSING_STATUS or status >= 500
    if type(error).__module__.partition(".")[0] in ("requests", "urllib3"):
        return True
    return isinstance(error, ConnectionError | TimeoutError) or (isinstance(error, OSError) and full_disk(error))
