"""Processes that tests start in no time, for what takes long is imported there, and that are killed amid their work."""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from tests.waiting import HANGS_S

Call = Callable[[int], None]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(  # for all tests of a session: the last one to name some would be the only one
    ["tests.jobs.downloading", "vlp_core.web.crawl", "vlp_core.web.decode", "pipelines.takedown", "ray", "mlflow"]
)


class Program:
    """A Python file as a program of its own, as `subprocess.Popen` would start it, but that it need not import Ray and
    MLflow first. What it says comes by `stdout`, also what it says of errors where `errors` names no file for that."""

    def __init__(self, line: list[str], environment: Mapping[str, str], errors: Path | None = None) -> None:
        said, saying = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_as_program, args=(line, dict(environment), saying, errors), daemon=True)
        self._process.start()
        saying.close()
        self.stdout = os.fdopen(os.dup(said.fileno()))
        said.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def send_signal(self, number: int) -> None:
        if self._process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        self._process.join()

    def last_words(self) -> str:
        """All that is still to be said, and the end; what hangs is killed."""
        hanging = Timer(HANGS_S, self.kill)
        hanging.start()
        try:
            with self.stdout:
                return self.stdout.read()
        finally:
            self.wait()
            hanging.cancel()


def _as_program(line: list[str], environment: dict[str, str], saying: Connection, errors: Path | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(saying.fileno(), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT) if errors else 1, 2)
    saying.close()
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it may start others
    sys.argv, sys.path[0] = line, str(Path(line[0]).parent)
    try:
        runpy.run_path(line[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which a forked process leaves out


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
