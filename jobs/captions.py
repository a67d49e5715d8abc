"""captions: a trained system writes a caption for each picture of a selection, and tells how well that and the
picture's own match it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.shards import ShardTask, map_shards
from vlp_core.curation.settings import Captions
from vlp_core.data.index import Reader as Stored
from vlp_core.data.layout import CAPTIONED, read_shards
from vlp_core.data.stored import join
from vlp_core.errors import UserError
from vlp_core.files import remove_leftovers, write_table
from vlp_core.tracker import Progress, Summary, Tracker

if TYPE_CHECKING:
    from vlp_core.capfilt import Pictures
    from vlp_core.evals.reader import Reader

VERSION = "1"
RESUMABLE = True
RUN = 16
"""Shards that a process with a GPU has its turn at, for it loads the model anew."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A shard's file, the selected rows of it (INDEX) and the table to write."""

    model: Path
    file: Path
    rows: pa.Table
    captions: Captions
    gpu: bool
    cpus: int
    table: Path


def run(*, model: Path, images: Path, selection: Path, captions: Captions, out: Path, tracker: Tracker) -> Summary:
    """Write CAPTIONED of the selected pictures, a table a shard; good tables of an attempt that was killed stay.

    `model` is the folder of a system that writes captions and judges pairs; UserError for any other.
    """
    _check_model(model)
    gpus = _gpus(captions)
    cpus = _cpus_beside(gpus)
    remove_leftovers(out)
    files, rows, _ = join(images, selection)
    bounds = np.searchsorted(rows["file"].to_numpy(), np.arange(len(files) + 1))
    tasks = [
        _Task(
            model=model,
            file=file,
            rows=rows.take(np.arange(bounds[number], bounds[number + 1])),
            captions=captions,
            gpu=gpus > 0,
            cpus=cpus,
            table=out / f"{file.name.partition('.')[0]}.parquet",
        )
        for number, file in enumerate(files)
        if bounds[number] < bounds[number + 1]
    ]
    progress = Progress(tracker, len(rows), unit="pictures")
    turns = _turns(tasks, gpus)
    share = ShardTask(cpus=cpus, gpus=float(gpus > 0))
    for turn, _ in map_shards(caption_shards, turns, task=share, window=captions.workers):
        progress.add(sum(len(task.rows) for task in turn))
    told = read_shards(out)
    return Summary(
        counts={
            "pictures": len(told),
            "captions/written": len(told) - told["synthetic"].null_count,
            "match/web": pc.mean(pc.list_flatten(told["web_match"])).as_py() or 0.0,
            "match/synthetic": pc.mean(told["synthetic_match"]).as_py() or 0.0,
        }
    )


def caption_shards(tasks: Sequence[_Task]) -> None:
    """Write the tables of these shards, but for those that are done."""
    for task in tasks:
        if not _is_whole(task.table, task.rows):
            _caption_shard(task)


def _turns(tasks: list[_Task], gpus: int) -> list[list[_Task]]:
    """The shards that a process takes: with GPUs `RUN` of them, or fewer, so that each GPU has some."""
    size = max(1, min(RUN, len(tasks) // gpus)) if gpus else 1
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _caption_shard(task: _Task) -> None:
    from vlp_core.capfilt import caption

    reader = _reader(task.model, task.gpu, task.cpus, task.captions)
    with reader.autocast():
        table = caption(reader.system, reader.system, _pictures(task, reader), reader.tokenizer, task.captions)
    write_table(task.table, table)


def _check_model(model: Path) -> None:
    from vlp_core.capfilt import check
    from vlp_core.load import load_system

    system, _, config = load_system(model)
    check(system, f"{model}: {config['recipe']['name']}")


def _gpus(captions: Captions) -> int:
    """GPUs to write on, none: CPUs. Ray would wait, and say nothing, for one that the cluster has not."""
    import ray

    there = int(ray.cluster_resources().get("GPU", 0))
    if captions.gpu and not there:
        raise UserError("--capfilt.captions.gpu: the cluster has no GPU; leave it out to write on CPUs")
    return 0 if captions.gpu is False else there


def _cpus_beside(gpus: int) -> int:
    """CPUs that one GPU's task decodes with: its share of the cluster's. One where there is no GPU."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)) // gpus) if gpus else 1


def _is_whole(path: Path, rows: pa.Table) -> bool:
    try:
        done = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return False
    return (
        done.schema.equals(CAPTIONED)
        and done["uid"].to_pylist() == rows["uid"].to_pylist()
        and pc.list_value_length(done["web_match"]).to_pylist() == pc.list_value_length(rows["captions"]).to_pylist()
    )


@lru_cache(1)
def _reader(model: Path, gpu: bool, cpus: int, captions: Captions) -> "Reader":
    """The system, once for all shards that this process has its turn at."""
    from vlp_core.evals.reader import Reader
    from vlp_core.evals.settings import Evaluate
    from vlp_core.load import load_system

    system, tokenizer, config = load_system(model)
    settings = Evaluate(
        batch_size=captions.batch_size,
        device="cuda" if gpu else "cpu",
        threads=cpus,
        precision=captions.precision,
    )
    return Reader.of(system, tokenizer, config["preprocess"], settings, name=str(model))


def _pictures(task: _Task, reader: "Reader") -> Iterator["Pictures"]:
    from vlp_core.capfilt import Pictures

    stored = Stored(open_files=1)
    parts = [batch.to_pydict() for batch in task.rows.to_batches(max_chunksize=task.captions.batch_size)]
    bodies = (map(partial(stored.read, task.file), part["offset"], part["length"]) for part in parts)
    try:
        for part, pixels in zip(parts, reader.streamed(bodies), strict=True):
            yield Pictures(pixels=pixels, uid=part["uid"], captions=part["captions"])
    except UserError as error:
        raise UserError(f"{task.file}: {error}; delete the shard and fetch it again") from error
    stored.close()
