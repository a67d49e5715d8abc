"""numba's `njit`, and how long this process compiled what no cache had: the next run does not do that again."""

import time

from numba import njit as njit
from numba.core import event


class Stopwatch(event.Listener):
    """Seconds in which functions were compiled, by their callers on whichever thread; one compiles at a time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth, self._began = 0, 0.0

    def on_start(self, _: event.Event) -> None:
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, _: event.Event) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._began


STOPWATCH = Stopwatch()
event.register("numba:compile", STOPWATCH)
