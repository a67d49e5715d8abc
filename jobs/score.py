"""A model looks at every fetched picture and its captions once: how near they are to one another, and the picture's
vector, as columns beside the pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.measure import fetched
from jobs.pool import map_pool, pool_of
from vlp_core.curation.score_settings import Score, Scorer
from vlp_core.curation.scores import CLIP, EMBEDDING, score_table
from vlp_core.data.adopted import undecodable
from vlp_core.data.index import Reader
from vlp_core.data.layout import read_shards, shard_names
from vlp_core.data.stored import index_shard
from vlp_core.errors import UserError
from vlp_core.files import remove_leftovers, write_table
from vlp_core.tracker import Progress, Summary, Tracker

if TYPE_CHECKING:
    from vlp_core.evals.encoder import Encoder, UndecodableError

VERSION = "1"
RESUMABLE = True
PERCENTILES = (10, 50, 90)


@dataclass(frozen=True, kw_only=True)
class _Task:
    images: Path
    name: str
    out: Path


def run(*, images: Path, scorer: Scorer, score: Score, out: Path, tracker: Tracker) -> Summary:
    """Write the columns of `vlp_core.curation.scores` for the fetched pictures, a table a shard; good tables of an
    attempt that was killed stay.

    The model is loaded once in each actor of a pool. UserError where it cannot be read, or a picture cannot.
    """
    names = shard_names(images)
    if not names:
        raise UserError(f"{images}: no shards of pictures in this folder; give the output folder of download")
    remove_leftovers(out)
    pool = pool_of(score.workers, score.gpu, len(names), "--score.gpu")
    progress = Progress(tracker, len(names), unit="shards")
    tasks = [_Task(images=images, name=name, out=out) for name in names]
    pictures = 0
    for _, count in map_pool(partial(_shard_scorer, scorer.place, score, pool.gpu), tasks, pool):
        pictures += count
        progress.add(1)
    found = pc.list_flatten(read_shards(out, [CLIP])[CLIP]).to_numpy()
    places = np.percentile(found, PERCENTILES).tolist() if len(found) else []
    return Summary(
        counts={
            "pictures/scored": pictures,
            "captions/scored": len(found),
            **{f"clip/p{percent}": value for percent, value in zip(PERCENTILES, places, strict=False)},
        }
    )


def _shard_scorer(place: str, score: Score, gpu: bool) -> Callable[[_Task], int]:
    """With the model loaded at the first shard that is not done: writes a shard's table; how many pictures it has."""
    from vlp_core.evals.encoder import UndecodableError
    from vlp_core.evals.settings import Evaluate
    from vlp_core.similarity import encoder_of, scored

    # A process on a CPU has one core; beside a GPU as many decode as there are.
    settings = Evaluate(
        batch_size=score.batch_size,
        device="cuda" if gpu else "cpu",
        threads=0 if gpu else 1,
        precision=score.precision,
    )
    loaded: list[Encoder] = []

    def work(task: _Task) -> int:
        rows = fetched(task.images, task.name)
        path = task.out / f"{task.name}.parquet"
        if _is_whole(path, rows):
            return len(rows)
        if not loaded:
            loaded.append(encoder_of(place, settings))
        captions = rows["captions"].combine_chunks()
        file, index = index_shard(task.images, task.name)
        index = index.take(pc.index_in(rows["uid"], value_set=index["uid"].combine_chunks()))
        reader = Reader(open_files=1)
        places = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
        try:
            found = scored(loaded[0], (reader.read(file, *at) for at in places), captions)
        except UndecodableError as error:
            raise _named(error, file, index, reader) from error
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        finally:
            reader.close()
        write_table(path, score_table(rows["uid"], captions, *found))
        return len(rows)

    return work


def _named(error: "UndecodableError", file: Path, index: pa.Table, reader: Reader) -> UserError:
    """What is told of a picture that the model was to see: where it is, and what to do."""
    places = zip(*(index[name].to_pylist() for name in ("uid", "offset", "length")), strict=True)
    found = ((uid, at) for uid, at, length in places if reader.read(file, at, length) == error.body)
    uid, offset = next(found)
    return undecodable(file, offset, uid, error.reason)


def _is_whole(path: Path, rows: pa.Table) -> bool:
    try:
        done = pq.read_table(path, columns=["uid", CLIP])
        whole = EMBEDDING in pq.read_schema(path).names and done["uid"].equals(rows["uid"])
    except (OSError, pa.ArrowException):
        return False
    return whole and pc.list_value_length(done[CLIP]).equals(pc.list_value_length(rows["captions"]))
