"""Processes that tests start in no time, for what takes long is imported there, and that are killed amid their work."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

import pytest

Call = Callable[[int], None]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(  # for all tests of a session: the last one to name some would be the only one
    ["tests.jobs.downloading", "vlp_core.web.crawl", "vlp_core.web.decode", "pipelines.takedown"]
)


@contextmanager
def each_write(call: Call) -> Iterator[None]:
    """Call with its number whenever something has been written that is about to be made sure of."""
    with _before(call, "fsync"):
        yield


@contextmanager
def each_change(call: Call) -> Iterator[None]:
    """The same, and whenever something is about to be removed or to get another name."""
    with _before(call, "fsync", "rename", "replace", "rmdir", "unlink"):
        yield


def killed(
    turn: int, work: Callable[..., Any], *given: Any, at: Callable[[Call], AbstractContextManager[None]] = each_write
) -> None:
    """Do what a module has as a function in a process of its own, which is killed `at` the `turn`-th time."""
    process = FORKS.Process(target=_dying, args=(turn, work, given, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, process.exitcode


def _dying(
    turn: int, work: Callable[..., Any], given: tuple[Any, ...], at: Callable[[Call], AbstractContextManager[None]]
) -> None:
    def die(number: int) -> None:
        if number == turn:
            os.kill(os.getpid(), signal.SIGKILL)

    with at(die):
        work(*given)


@contextmanager
def _before(call: Call, *names: str) -> Iterator[None]:
    """Call with its number before each call of these functions of the system."""
    numbers = count(1)

    def told(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **more: Any) -> Any:
            call(next(numbers))
            return function(*args, **more)

        return called

    with pytest.MonkeyPatch.context() as patched:
        for name in names:
            patched.setattr(os, name, told(getattr(os, name)))
        yield
