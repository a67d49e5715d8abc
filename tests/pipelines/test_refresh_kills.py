"""Refreshes that are killed where they do not ask: the same command goes on, to the release of one that nobody
disturbed, and asks for nothing that it knows."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.workflow.results import Results
from tests.jobs.refreshing import changes_of, contents, counts_of, rows_of
from tests.pipelines.conftest import Command
from tests.pipelines.refreshing import PIPELINE, Data
from tests.waiting import HANGS_S, until
from vlp_core.data.releases import Release, numbers, read

# A refresh whose process is killed when a result is whole, or before `publish` has one: the release has its name then.
DYING = """
import os, signal, sys
from pipelines import refresh_data
from pipelines.workflow.results import Results

def publish(results, step, *rest, whole=Results.publish, **more):
    if step.name != "publish":
        whole(results, step, *rest, **more)
    if step.name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return results.read(step.name, rest[0].fingerprint)

Results.publish = publish
refresh_data.main(sys.argv[2:])
"""


class Killed:
    """Refreshes as processes that are killed, with whoever works for them."""

    def __init__(self, data: Data, cluster: str) -> None:
        self.data, self.command = data, Command(PIPELINE, data.root, cluster)

    def amid(self, *steps: str) -> None:
        """Whoever works at these, each as soon as it has a shard; at the last one the refresh itself too."""
        process = self.command.start(*self.data.flags())
        for step in steps:
            until(lambda step=step: self._shards(step) or process.poll() is not None, every_s=0.001)
            if step == steps[-1]:
                process.kill()
            for lock in self.data.root.glob(f"{step}/.*.partial.attempt"):
                with suppress(ProcessLookupError, ValueError):  # it has ended before the blow fell
                    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
        process.last_words()
        assert process.returncode == -signal.SIGKILL

    def after(self, step: str) -> None:
        """When this step has its result; `publish`: just before."""
        line = [sys.executable, "-c", DYING, step, "--root", str(self.data.root), *self.data.flags()]
        done = subprocess.run(line, env=self.command.environment, capture_output=True, text=True, timeout=HANGS_S)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr

    def _shards(self, step: str) -> list[Path]:
        return list(self.data.root.glob(f"{step}/*.partial/[0-9]*[0-9].parquet"))


def planned(data: Data, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What becomes of `changes`: a release that has its name is not made again by a command that makes another."""
    capsys.readouterr()
    assert data.main("--explain", *flags) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("changes "))
    return line.split()[1]


def said(release: Release) -> tuple[object, ...]:
    return release.digest, contents(release), rows_of(release), changes_of(release), counts_of(release)


@pytest.mark.usefixtures("handlers")
def test_killed_in_every_stage_but_the_fetching_it_ends_as_one_that_nobody_disturbed(
    data: Data, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data.pictures(*range(40))
    data.says |= {"gone.jpg": 404, "page.jpg": b"<html>", "busy.jpg": 503}
    others = ["gone.jpg", "page.jpg", "busy.jpg"]
    first, second = ([f"{number}.jpg" for number in some] + others for some in (range(28), range(2, 40)))
    for name in ("photos", "whole"):
        data.lists(*first)
        assert data.main("--into", name) == 0
        data.lists(*second)
        if name == "photos":
            killed = Killed(data, cluster)
            killed.amid("changes", "release")
            killed.after("release")
            assert numbers(data.root, name) == [1]
            killed.after("publish")
            assert numbers(data.root, name) == [1, 2] and len(Results(data.root).of("publish")) == 1
            assert [planned(data, capsys, *flags) for flags in ((), ("--near.bits", "1"))] == ["reuse", "run"]
        assert data.main("--into", f"{name}@2") == 0
        assert data.asked == dict.fromkeys([*first, *second], 1) | {"busy.jpg": 2}
    assert numbers(data.root, "photos") == [1, 2] and len(Results(data.root).of("publish")) == 4
    assert said(read(data.root, "photos", 2)) == said(read(data.root, "whole", 2))
    assert not list(data.root.glob("*/*.partial"))
