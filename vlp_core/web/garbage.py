"""Python's search for garbage, seldom enough for work that keeps many small objects for seconds."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_SELDOM = 10_000, 10, 10
"""Objects that come to stay until the young, passes until the middle-aged, and until all are looked through: a million
at most, some 200 MB. By Python's own measure each pass goes through thousands of links that wait for hosts and finds
nothing, for a quarter of the time that asking takes."""


class _Seldom:
    """What was set before, and how many blocks run."""

    def __init__(self) -> None:
        self._lock, self._running, self._before = Lock(), 0, _SELDOM

    def begin(self) -> None:
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._before = gc.get_threshold()
                gc.set_threshold(*_SELDOM)
                gc.freeze()  # modules and what else is there to stay

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                gc.unfreeze()
                gc.set_threshold(*self._before)


_seldom = _Seldom()


@contextmanager
def collected_seldom() -> Iterator[None]:
    """While the block runs, in whatever thread, garbage is looked for seldom; afterwards as before."""
    _seldom.begin()
    try:
        yield
    finally:
        _seldom.end()
