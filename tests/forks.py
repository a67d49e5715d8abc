"""Processes that tests start in no time, for what takes long is imported there, and that are killed amid their work."""

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import pytest

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(  # for all tests of a session: the last one to name some would be the only one
    ["tests.jobs.downloading", "vlp_core.web.crawl", "vlp_core.web.decode", "pipelines.takedown"]
)


def killed(turn: int, module: str, words: Sequence[str]) -> None:
    """Run a command in a process of its own that is killed when it has written something for the `turn`-th time, and
    has not yet done with it what it was written for."""
    process = FORKS.Process(target=_dying, args=(turn, module, list(words)))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, process.exitcode


def _dying(turn: int, module: str, words: list[str]) -> None:
    def die(written: int) -> None:
        if written == turn:
            os.kill(os.getpid(), signal.SIGKILL)

    with each_write(die):
        importlib.import_module(module).main(words)


@contextmanager
def each_write(call: Callable[[int], None]) -> Iterator[None]:
    """Call with its number whenever something has been written that is about to be made sure of."""
    numbers, fsync = count(1), os.fsync

    def called(file: int) -> None:
        call(next(numbers))
        fsync(file)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", called)
        yield
