"""What a row more costs each stage: each runs again, in a process that has warmed up, on the sample and a part of it.

The first run of a stage is all start: processes and imports. That part does not grow with the rows, and one run cannot
tell it from the part that does.
"""

import importlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs import evaluate, register, train
from jobs.fetch_crew import cpus_of_nodes
from pipelines.forecasting.sampled import DOWNLOAD
from pipelines.workflow.cluster import start_ray
from pipelines.workflow.lock import Lock
from pipelines.workflow.step import Step, resolve
from pipelines.workflow.worker import alone
from vlp_core.data.layout import shard_names
from vlp_core.files import write_text
from vlp_core.identity import digest_of
from vlp_core.tracker import Silent

PART = 10
"""The part is so much smaller than the sample."""
MEMORY, SCRATCH = "rehearsals", "rehearsal.partial"
"""Of a forecast's folder: what rehearsals took, and what the one under way writes, or a kill left of one."""
_OWN_TIMES = (train.run, evaluate.run, register.run)
_LEAST_S = 1.0  # what is quicker is timed twice
_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of a stage, warm: on the part and on the sample, and how many rows both have."""

    part: float
    sample: float
    part_rows: int
    sample_rows: int

    @property
    def a_row(self) -> float:
        return max(0.0, self.sample - self.part) / max(self.sample_rows - self.part_rows, 1)


@dataclass(frozen=True, kw_only=True)
class _Stage:
    name: str
    module: str
    function: str
    on_part: dict[str, Any]
    on_sample: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What the stages cost, and the CPUs of each node of the cluster that they were run on."""

    nodes: tuple[float, ...]
    costs: dict[str, Cost]

    @property
    def cpus(self) -> int:
        return max(1, int(sum(self.nodes)))


def by_rows(steps: Sequence[Step]) -> list[Step]:
    """The steps whose work grows with the rows of the list that is trained on, but for its download."""
    grown = {DOWNLOAD}
    found = []
    for current in steps:
        if current.run not in _OWN_TIMES and any(each.name in grown for each in current.dependencies):
            grown.add(current.name)
            found.append(current)
    return [current for current in found if not current.name.startswith("repeat-")]


def rehearse(steps: Sequence[Step], folders: Mapping[str, Path], forecast: Path) -> Rehearsed:
    """The costs of the steps of a sample that are made; once, and kept in the folder of the forecast."""
    timed = [current for current in by_rows(steps) if current.name in folders]
    name = digest_of(["of nodes", *(str(folders[current.name]) for current in timed)])[:20]
    kept = forecast / MEMORY / f"{name}.json"
    if not kept.exists():
        with _scratch(forecast) as scratch:
            if not kept.exists():  # the one that was waited for may have timed the same
                said = _rehearsed(_stages(timed, folders, scratch), folders[DOWNLOAD], scratch)
                write_text(kept, json.dumps(said, indent=1, sort_keys=True))
    said = json.loads(kept.read_text())
    return Rehearsed(nodes=tuple(said["nodes"]), costs={name: Cost(**cost) for name, cost in said["costs"].items()})


def remove_left(forecast: Path) -> None:
    """Remove what a kill left of a rehearsal; one that is under way stays."""
    lock = _lock(forecast)
    if (forecast / SCRATCH).exists() and lock.take():
        shutil.rmtree(forecast / SCRATCH, ignore_errors=True)
        lock.release()


def _lock(forecast: Path) -> Lock:
    return Lock(forecast / f".{SCRATCH}.lock")


@contextmanager
def _scratch(forecast: Path) -> Iterator[Path]:
    """The folder that a rehearsal writes to, which goes with it. One at a time: two would time one another."""
    lock, scratch = _lock(forecast), forecast / SCRATCH
    if not lock.take():
        print(f"{lock.holder()} rehearses in {forecast}; waiting for that")
        while not lock.take():
            time.sleep(_LOOK_AGAIN_S)
    lock.sign()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def _rehearsed(stages: Sequence[_Stage], images: Path, scratch: Path) -> dict[str, Any]:
    start_ray()
    import ray

    task: Any = ray.remote(_timed).options(num_cpus=0)
    found = ray.get(task.remote(stages, images, scratch))
    return {"nodes": cpus_of_nodes(), "costs": found}


def _stages(timed: Sequence[Step], folders: Mapping[str, Path], scratch: Path) -> list[_Stage]:
    grown = {DOWNLOAD, *(current.name for current in timed)}

    def of_part(current: Step) -> Path:
        return _part(scratch, current.name) if current.name in grown else folders[current.name]

    return [
        _Stage(
            name=current.name,
            module=current.run.__module__,
            function=current.run.__name__,
            on_part=_inputs(current, of_part),
            on_sample=_inputs(current, lambda each: folders[each.name]),
        )
        for current in timed
    ]


def _inputs(current: Step, folder_of: Callable[[Step], Path]) -> dict[str, Any]:
    """Without drawings, which are of a few rows however many there are."""
    drawn = {"draw": False} if current.accepts("draw") else {}
    return {key: resolve(value, folder_of) for key, value in current.inputs.items()} | drawn


def _timed(stages: Sequence[_Stage], images: Path, scratch: Path) -> dict[str, dict[str, float]]:
    """Runs in a Ray task, as stages do."""
    with alone(scratch):  # a worker may outlive a driver that was killed
        shutil.rmtree(scratch, ignore_errors=True)
        rows, few = _cut(images, _part(scratch, DOWNLOAD))
        return {stage.name: _cost(stage, scratch, few, rows) for stage in stages}


def _cost(stage: _Stage, scratch: Path, few: int, rows: int) -> dict[str, float]:
    """A stage that cannot do with so small a part costs what the sample takes."""
    function = getattr(importlib.import_module(stage.module), stage.function)
    out = _part(scratch, stage.name)
    try:
        _seconds(function, stage.on_part, out)
        part = _seconds(function, stage.on_part, out)
    except Exception:  # such as no picture left of a part
        part = 0.0
    sample = _seconds(function, stage.on_sample, scratch / "sample" / stage.name)
    if part == 0.0 or sample < _LEAST_S:
        sample = min(sample, _seconds(function, stage.on_sample, scratch / "sample" / stage.name))
    return {"part": part, "sample": sample, "part_rows": few, "sample_rows": rows}


def _seconds(function: Any, inputs: Mapping[str, Any], out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    start = time.perf_counter()
    function(**inputs, out=out, tracker=Silent())
    return time.perf_counter() - start


def _part(scratch: Path, name: str) -> Path:
    return scratch / "part" / name


def _cut(images: Path, out: Path) -> tuple[int, int]:
    """The first rows of each shard, with the tars that they lie in; how many rows there were and are."""
    out.mkdir(parents=True)
    rows = few = 0
    for name in shard_names(images):
        table = pq.read_table(images / f"{name}.parquet")
        index = pq.read_table(images / f"{name}_index.parquet")
        first = table.slice(0, -(-len(table) // PART))
        stored = len(first) - first["sha256"].null_count
        pq.write_table(first, out / f"{name}.parquet")
        pq.write_table(index.slice(0, stored), out / f"{name}_index.parquet")
        (out / f"{name}.tar").symlink_to(images / f"{name}.tar")
        rows, few = rows + len(table), few + len(first)
    return rows, few
