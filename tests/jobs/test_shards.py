"""A task a shard: bounded, complete, and honest about failures."""

import errno
import os
import signal
import time
from pathlib import Path

import pytest

from jobs.shards import ShardTask, map_shards, submittable
from vlp_core.errors import UserError
from vlp_core.files import full_disk


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise UserError("shard 3 is bad; delete it")
    return number


def fill_disk(_: int) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")


def read_nowhere(_: int) -> None:
    Path("/nowhere/at/all").read_bytes()


def fail(_: int) -> None:
    raise OSError("of no system")


def die_once(marker: str) -> str:
    """Kills its own worker the first time, as an out-of-memory killer would."""
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_every_item_comes_back_once(cluster: str) -> None:
    assert dict(map_shards(square, range(20), task=ShardTask(cpus=0.1))) == {number: number**2 for number in range(20)}


def note_start(marker: str) -> None:
    Path(marker).touch()


def test_no_more_than_the_window_is_submitted_before_results_are_taken(cluster: str, tmp_path: Path) -> None:
    markers = [str(tmp_path / str(number)) for number in range(8)]
    results = map_shards(note_start, markers, window=2, task=ShardTask(cpus=0.1))
    next(results)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 3
    results.close()


def test_a_users_error_comes_out_as_it_is(cluster: str) -> None:
    with pytest.raises(UserError, match="shard 3 is bad; delete it"):
        list(map_shards(refuse, range(5), task=ShardTask(cpus=0.1)))


def fail_beside(marker: str | None) -> None:
    """Fails at once, or leaves a marker after a while."""
    if marker is None:
        raise UserError("shard 0 is bad")
    time.sleep(1)
    note_start(marker)


def test_what_is_at_work_beside_a_failure_comes_to_its_end(cluster: str, tmp_path: Path) -> None:
    """Ray's way to cancel a task ends the caller as well where the task has just ended."""
    marker = tmp_path / "ended"
    with pytest.raises(UserError, match="shard 0 is bad"):
        list(map_shards(fail_beside, [None, str(marker)], task=ShardTask(cpus=0.1)))
    assert marker.exists()


@pytest.mark.parametrize(
    ("function", "number"), [(fill_disk, errno.ENOSPC), (read_nowhere, errno.ENOENT), (fail, None)]
)
def test_what_the_system_refused_keeps_its_number(cluster: str, function, number: int | None) -> None:
    """So that the runner can tell a full disk from a fault of the program."""
    with pytest.raises(OSError) as refused:
        list(map_shards(function, [0], task=ShardTask(cpus=0.1)))
    assert refused.value.errno == number and full_disk(refused.value) == (number == errno.ENOSPC)


def test_a_lost_worker_is_replaced(cluster: str, tmp_path: Path) -> None:
    marker = str(tmp_path / "marker")
    assert list(map_shards(die_once, [marker])) == [(marker, "done")]


@pytest.mark.parametrize(("gpus", "most"), [(0.0, None), (1.0, 1)])
def test_a_process_that_had_a_gpu_ends_with_its_task(gpus: float, most: int | None) -> None:
    """Or what it loaded would stay in the GPU's memory when the GPU is given to the next."""
    assert submittable(square, ShardTask(gpus=gpus))._default_options.get("max_calls") == most
