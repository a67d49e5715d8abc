"""Settings of Python and of the C library that suit a crawl: many small objects that live for seconds, and decoding."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_SELDOM = 10_000, 10, 10
"""Objects that come to stay until the young, passes until the middle-aged, and until all are looked through for
garbage: a million at most, some 200 MB. By Python's own measure each pass goes through thousands of links that wait for
hosts and finds nothing, for a quarter of the time that asking takes."""
_SWITCH_S = 0.0002
"""A thread that has decoded waits so long at most for the one that asks. By Python's own measure (5 ms) it waits
longer, after each of its few calls, than it takes to decode, and a CPU is idle."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT, _LARGEST = 2**26, 2**25
"""Free bytes at the end of the heap, and bytes of one block, up to which memory is kept. By glibc's own measure the
pixels of each picture are given back to the system, and come again as hundreds of page faults: up to a third of the CPU
time."""


class _Settings:
    """What was set before, and how many blocks run."""

    def __init__(self) -> None:
        self._lock, self._running = Lock(), 0
        self._seldom, self._switch_s = _SELDOM, _SWITCH_S

    def begin(self) -> None:
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._seldom, self._switch_s = gc.get_threshold(), sys.getswitchinterval()
                gc.set_threshold(*_SELDOM)
                gc.freeze()  # modules and what else is there to stay
                sys.setswitchinterval(_SWITCH_S)
                _keep_memory()

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                sys.setswitchinterval(self._switch_s)
                gc.unfreeze()
                gc.set_threshold(*self._seldom)


def _keep_memory() -> None:
    """From now on, for what glibc sets by itself until then cannot be read."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another C library may have none
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGEST)


_settings = _Settings()


@contextmanager
def set_for_crawls() -> Iterator[None]:
    """While the block runs, in whatever thread, garbage is looked for seldom and threads take turns often."""
    _settings.begin()
    try:
        yield
    finally:
        _settings.end()
