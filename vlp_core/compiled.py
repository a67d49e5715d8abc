"""numba's `njit` for processes that start side by side, and how long this one compiled what no cache had."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from vlp_core.errors import UserError
from vlp_core.files import flock

PATIENCE_S = 300.0
"""How long a process waits for another to compile what it needs; then it does so itself."""
_LOOK_AGAIN_S = 0.05


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


_HELD: set[Path] = set()  # by this process, which may come to compile a function while it does
STOPWATCH = Stopwatch()
event.register("numba:compile", STOPWATCH)


def njit(*, cache: bool = True, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with a cache, which of several processes that find nothing there one alone fills: the stages that
    need a function begin together, and it takes many seconds of a CPU to compile."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(cache=cache, **options)(function)
        if not cache:
            return dispatcher
        compile_it = dispatcher.compile

        def compile_once(signature: Any) -> Any:
            with _alone(Path(dispatcher.stats.cache_path) / f"{function.__module__}.{function.__qualname__}.lock"):
                return compile_it(signature)

        dispatcher.compile = compile_once
        return dispatcher

    return decorate


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """In the block nobody else has this lock: of another process it is waited for."""
    with ExitStack() as stack:
        if path not in _HELD:
            with suppress(OSError, UserError):  # a folder that takes no file, or keeps no locks: each for itself
                path.parent.mkdir(parents=True, exist_ok=True)
                file, give_up = stack.enter_context(path.open("a")), time.monotonic() + PATIENCE_S
                while not flock(file, fcntl.LOCK_EX) and time.monotonic() < give_up:
                    time.sleep(_LOOK_AGAIN_S)
            _HELD.add(path)
            stack.callback(_HELD.discard, path)
        yield
