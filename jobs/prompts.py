"""What zero-shot prompts say of every scored picture, as columns: no picture is looked at again."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.shards import map_shards
from vlp_core.curation.prompts import Floats, Prompt
from vlp_core.curation.score_settings import Scorer
from vlp_core.curation.scores import EMBEDDING, vectors_of
from vlp_core.data.layout import shard_names
from vlp_core.files import remove_leftovers, write_table
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "1"
RESUMABLE = True
LIKELY = 0.5


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A prompt with the unit vectors of its texts, float32 [Y, D] and [M, D]."""

    prompt: Prompt
    yes: Floats
    no: Floats


@dataclass(frozen=True, kw_only=True)
class _Task:
    scores: Path
    name: str
    asked: tuple[_Asked, ...]
    scale: float
    out: Path


def run(*, scores: Path, scorer: Scorer, prompts: tuple[Prompt, ...], out: Path, tracker: Tracker) -> Summary:
    """Write uid and a probability (float32) for each prompt, a table a shard of `scores`, the folder that this model's
    scores are in; good tables of an attempt that was killed stay."""
    remove_leftovers(out)
    asked, scale = _encoded(scorer.place, prompts)
    names = shard_names(scores)
    progress = Progress(tracker, len(names), unit="shards")
    tasks = [_Task(scores=scores, name=name, asked=asked, scale=scale, out=out) for name in names]
    likely = dict.fromkeys((prompt.name for prompt in prompts), 0)
    pictures = 0
    for _, (count, found) in map_shards(_ask, tasks):
        pictures += count
        likely = {name: likely[name] + found[name] for name in likely}
        progress.add(1)
    return Summary(counts={"pictures/asked": pictures, **{f"likely/{name}": some for name, some in likely.items()}})


def _encoded(place: str, prompts: tuple[Prompt, ...]) -> tuple[tuple[_Asked, ...], float]:
    """The prompts as this model reads them, and its scale."""
    from vlp_core.evals.settings import Evaluate
    from vlp_core.similarity import encoder_of, scale_of

    encoder = encoder_of(place, Evaluate(device="cpu", threads=1))
    asked = (
        _Asked(prompt=prompt, yes=encoder.texts(prompt.yes).numpy(), no=encoder.texts(prompt.no).numpy())
        for prompt in prompts
    )
    return tuple(asked), scale_of(encoder)


def _ask(task: _Task) -> tuple[int, dict[str, int]]:
    """Write a shard's table unless that is done; its pictures, and how many of them each prompt is likely of."""
    path = task.out / f"{task.name}.parquet"
    names = [asked.prompt.name for asked in task.asked]
    table = _whole(path, names)
    if table is None:
        stored = pq.read_table(task.scores / f"{task.name}.parquet", columns=["uid", EMBEDDING])
        pictures = vectors_of(stored[EMBEDDING])
        columns = {
            asked.prompt.name: pa.array(asked.prompt.probability(pictures, asked.yes, asked.no, task.scale))
            for asked in task.asked
        }
        table = pa.table({"uid": stored["uid"], **columns})
        write_table(path, table)
    return len(table), {name: int((table[name].to_numpy() > LIKELY).sum()) for name in names}


def _whole(path: Path, names: list[str]) -> pa.Table | None:
    try:
        return pq.read_table(path, columns=["uid", *names])
    except (OSError, pa.ArrowException):
        return None
