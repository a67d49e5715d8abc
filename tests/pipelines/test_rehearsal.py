"""Rehearsals: one at a time in a root, and nothing of one is left, however it ends."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.forecasting.forecast import Forecast
from pipelines.forecasting.rehearsal import MEMORY, SCRATCH, _lock
from pipelines.forecasting.settings import Forecasting, Sample
from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.workflow.cli import Invocation
from pipelines.workflow.lock import Lock
from tests.pipelines.conftest import PROJECT
from tests.pipelines.rehearsing import BEGAN, HOLD, made, rehearsed
from tests.waiting import until

REHEARSING = (
    "import sys, pathlib; from tests.pipelines.rehearsing import rehearsed; rehearsed(pathlib.Path(sys.argv[1]))"
)


def seen(forecast: Path) -> set[str]:
    """What is there but locks."""
    return {path.name for path in forecast.glob("[!.]*")}


def test_what_the_kill_of_a_rehearsal_leaves_is_gone_after_the_next(tmp_path: Path, cluster: str) -> None:
    forecast, hold = made(tmp_path), tmp_path / HOLD
    hold.touch()
    environment = {**os.environ, "RAY_ADDRESS": cluster, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-c", REHEARSING, str(tmp_path)], env=environment)
    until((forecast / SCRATCH / "part" / "look" / "looked").exists, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    until(Lock(forecast / f".{SCRATCH}.attempt").is_free)  # Ray has ended who worked for it
    assert seen(forecast) == {SCRATCH}
    hold.unlink()
    found = rehearsed(tmp_path)
    assert (found.costs["look"].part_rows, found.costs["look"].sample_rows) == (1, 10)
    assert seen(forecast) == {MEMORY}


@pytest.mark.parametrize("under_way", [True, False])
def test_at_its_start_a_forecast_removes_what_a_kill_left_but_not_what_is_under_way(
    tmp_path: Path, under_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of it then."""
    monkeypatch.setattr(Forecast, "_make", lambda *_: 1)
    (tmp_path / "list.csv").write_text("url,caption\nhttp://a.test/1.jpg,a dog\n")
    left = tmp_path / "forecast" / SCRATCH / "part"
    left.mkdir(parents=True)
    lock = _lock(tmp_path / "forecast")
    assert not under_way or lock.take()
    config = PretrainClip(source=(str(tmp_path / "list.csv"),))
    invocation = Invocation("pretrain-clip", config, Forecasting(forecast=True), build, (), tmp_path)
    assert Forecast(invocation, Sample(links=20, steps=10)).run() == 1
    assert left.exists() == under_way
    lock.release()


def test_of_two_forecasts_at_once_one_waits_and_times_nothing_that_the_other_has(
    tmp_path: Path, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forecast = made(tmp_path)
    first, began = rehearsed(tmp_path), (tmp_path / BEGAN).read_text()
    (kept,) = (forecast / MEMORY).iterdir()
    said = kept.read_text()
    kept.unlink()
    other, theirs = _lock(forecast), forecast / SCRATCH / "part"
    assert other.take()
    other.sign()
    theirs.mkdir(parents=True)
    printed = ""

    def waits() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return "\n" in printed

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(rehearsed, tmp_path)
        try:
            until(waits)
            assert f"process {os.getpid()} on " in printed and printed.endswith("waiting for that\n")
            assert theirs.exists() and not second.done()
            kept.write_text(said)
        finally:
            other.release()
        assert second.result() == first
    assert (tmp_path / BEGAN).read_text() == began and seen(forecast) == {MEMORY}
