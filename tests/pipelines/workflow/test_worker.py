"""A step's function in its worker: who may write, and what every end of it becomes."""

import os
from pathlib import Path
from threading import Timer

import pytest

from pipelines.workflow import worker
from pipelines.workflow.lock import Lock
from pipelines.workflow.worker import Assignment, perform
from tests.pipelines.workflow import stages


def assignment(out: Path, function: str = "write", **inputs: object) -> Assignment:
    return Assignment(
        step="write",
        module=stages.__name__,
        function=function,
        inputs=inputs or {"text": stages.Text()},
        out=out,
        fresh=True,
        environment={},
    )


class Nobody:
    """A mailbox that takes whatever it is sent."""

    class put:  # noqa: N801 - as an actor's method looks
        @staticmethod
        def remote(_: object) -> None: ...


def test_two_attempts_never_write_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PREDECESSOR_S", 0.3)
    out = tmp_path / "0123.partial"
    out.mkdir()
    (out / "theirs.txt").write_text("x")
    earlier = Lock(tmp_path / ".0123.partial.attempt")
    assert earlier.take()
    earlier.sign()
    outcome = perform(assignment(out), Nobody())
    assert outcome.user_error is not None and f"process {os.getpid()}" in outcome.user_error
    assert (out / "theirs.txt").exists()
    Timer(0.1, earlier.release).start()
    assert perform(assignment(out), Nobody()).failure is None
    assert not (out / "theirs.txt").exists()


@pytest.mark.parametrize(
    ("function", "line", "by_user"),
    [("refuse", "add words", True), ("fill_disk", "no space left", True), ("burst", "RuntimeError: burst", False)],
)
def test_every_exception_becomes_an_outcome(tmp_path: Path, function: str, line: str, by_user: bool) -> None:
    outcome = perform(assignment(tmp_path / "a.partial", function, words=tmp_path), Nobody())
    said = outcome.user_error if by_user else outcome.failure
    assert said is not None and line in said
    assert outcome.summary is None


def test_the_time_that_compiling_took_is_told_of_the_run_that_compiled(tmp_path: Path) -> None:
    first, second = (perform(assignment(tmp_path / "a.partial", "double", number=4), Nobody()) for _ in range(2))
    assert first.summary and second.summary and first.summary.counts == second.summary.counts == {"twice": 8}
    assert first.compiled_s > 0 and second.compiled_s == 0
