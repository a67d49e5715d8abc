"""Stages whose process is killed when they have written something of their result, and that are then run again as the
runner does: what they leave is what an attempt leaves that nobody disturbed. (`tests/pipelines/test_pretrain_clip.py`
kills whole runs in every stage of theirs.)"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import adopt, compare
from pipelines.workflow.step import Step, step
from pipelines.workflow.worker import Assignment, Mailbox, perform
from tests.jobs import foreign
from tests.jobs.test_compare import write_arms
from tests.pipelines.conftest import PROJECT
from tests.waiting import until
from vlp_core.curation.lists import CAPTION_NAMES
from vlp_core.data.parts import digest, parts_of

ATTEMPT = """
import pickle, sys, ray
from pipelines.workflow.worker import Mailbox, perform
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
perform(pickle.load(sys.stdin.buffer), ray.remote(Mailbox).remote())
"""


def adopted(folder: Path) -> Step:
    foreign.write(folder / "set", [2] * 60, hashed=False)
    listing = digest(parts_of(str(folder / "set")))
    return step("adopt", adopt.run, sources=(str(folder / "set"),), listing=listing, caption_names=CAPTION_NAMES)


def compared(folder: Path) -> Step:
    return step("compare", compare.run, **write_arms(folder))


def assignment(of: Step, out: Path) -> Assignment:
    return Assignment(
        step=of.name,
        module=of.run.__module__,
        function=of.run.__name__,
        inputs=dict(of.inputs),
        out=out,
        fresh=not of.resumable,
        environment={},
    )


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def written(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.suffix != ".tmp" and path.is_file()}


def whole_shards(out: Path) -> dict[Path, int]:
    """The files of shards that are whole, which their rows say, with their inodes: another one is another writing."""
    names = [path.stem for path in out.glob("*.parquet") if path.stem.isdigit()]
    return {path: path.stat().st_ino for name in names for path in out.rglob(f"{name}*")}


def kill_amid(work: Assignment, cluster: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-c", ATTEMPT, cluster], stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(pickle.dumps(work))
    until(lambda: written(work.out) if work.fresh else whole_shards(work.out), process, every_s=0.002)
    process.kill()
    process.wait()


@pytest.mark.parametrize("made", [adopted, compared])
def test_killed_when_part_of_it_is_written_a_stage_ends_as_if_it_were_not(
    made: Callable[[Path], Step], tmp_path: Path, cluster: str
) -> None:
    import ray

    of, mailbox = made(tmp_path), ray.remote(Mailbox).remote()
    undisturbed, again = (assignment(of, tmp_path / f"{name}.partial") for name in ("whole", "again"))
    outcome = perform(undisturbed, mailbox)
    whole = contents(undisturbed.out)
    kill_amid(again, cluster)
    left = whole_shards(again.out)
    assert written(again.out) < whole.keys(), "it was not amid its work"
    assert outcome.summary is not None and perform(again, mailbox).summary == outcome.summary
    assert contents(again.out) == whole
    if of.resumable:
        assert left and left.items() <= whole_shards(again.out).items(), "work was done twice"
