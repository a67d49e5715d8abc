"""Calls to a store that may be away: made in order, at once or later, and not again once they succeeded."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PAUSE_S = 30.0  # after a call that failed
MOST_WAITING = 20_000
# Codes of MLflow for calls that would fail again just so; anything else may pass.
FINAL = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "BAD_REQUEST",
    "INVALID_STATE",
}


@dataclass
class Later:
    """A queue of calls. One that fails in a way that may pass waits at its head and is tried again after a pause."""

    tell: Callable[[Exception], None]
    """Called with each failure."""
    _waiting: deque[Callable[[], Any]] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    _quiet_until: float = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def do(self, call: Callable[[], Any]) -> None:
        """Make a call after those that wait: now, if the store takes any."""
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
                if _may_pass(error):
                    self._quiet_until = time.monotonic() + PAUSE_S
                    return
            self._waiting.popleft()

    def finish(self, seconds: float) -> None:
        """Try for so long to have none left."""
        give_up = time.monotonic() + seconds
        while self._waiting and time.monotonic() < give_up:
            time.sleep(1.0)
            self.make(now=True)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, TypeError | ValueError | KeyError | FileNotFoundError):  # of ours: it would be the same again
        return False
    return getattr(error, "error_code", None) not in FINAL
