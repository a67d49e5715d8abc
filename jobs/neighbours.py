"""Which scored pictures are near one another by their vectors: once, whatever rules ask."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.hashed import PICTURES_FILE
from jobs.shards import map_shards
from vlp_core.curation.score_settings import Semantic
from vlp_core.curation.scores import EMBEDDING, Floats, embeddings, vectors_of
from vlp_core.curation.semantic import SAMPLED, centres, clusters, near_pairs, nearest_centre
from vlp_core.data.layout import read_shards, shard_name, shard_names
from vlp_core.files import remove_leftovers, replacing, write_table, write_text
from vlp_core.tracker import Progress, Summary, Tracker
from vlp_core.uids import digest_of_texts

VERSION = "1"
RESUMABLE = True

NEIGHBOURS = pa.schema([("left", pa.int32()), ("right", pa.int32()), ("cosine", pa.float32())])
"""Pairs left < right by their rows: their places among all pictures that were fetched."""

_PARTS = "_parts"
_CENTRES = "_centres.npy"
_PART_ROWS = 2**16  # pictures that are sorted into buckets at a time


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Shards in a row, the number of their first picture, and where they go sorted by bucket."""

    scores: Path
    names: tuple[str, ...]
    first: int
    centres: Path
    table: Path


@dataclass(frozen=True, kw_only=True)
class _Bucket:
    """The pictures nearest to one of the first centres: a row group of each part."""

    number: int
    parts: Path
    semantic: Semantic
    table: Path


def run(*, scores: Path, semantic: Semantic, out: Path, tracker: Tracker) -> Summary:
    """Write NEIGHBOURS with a cosine over 1 - epsilon, a table a bucket of clusters; whole ones of an attempt that was
    killed stay.

    The vectors lie sorted by bucket beside the result while it is made, 2 D bytes a picture.
    """
    assert semantic.epsilon is not None
    remove_leftovers(out, out / _PARTS)
    names = shard_names(scores)
    sizes = [pq.read_metadata(scores / f"{name}.parquet").num_rows for name in names]
    count = max(1, round((sum(sizes) / semantic.cluster) ** 0.5))
    tables = [out / f"{shard_name(number)}.parquet" for number in range(count)]
    progress = Progress(tracker, len(tables), unit="buckets")
    if missing := [number for number, table in enumerate(tables) if not table.exists()]:
        _sort(scores, names, sizes, count, semantic.seed, out)
        progress.add(len(tables) - len(missing))
        tasks = [
            _Bucket(number=number, parts=out / _PARTS, semantic=semantic, table=tables[number]) for number in missing
        ]
        for _ in map_shards(_pair, tasks):
            progress.add(1)
    uids = read_shards(scores, ["uid"])["uid"]
    write_text(out / PICTURES_FILE, json.dumps({"pictures": len(uids), "uids": digest_of_texts(uids)}) + "\n")
    shutil.rmtree(out / _PARTS, ignore_errors=True)
    (out / _CENTRES).unlink(missing_ok=True)
    pairs = sum(pq.read_metadata(table).num_rows for table in tables)
    return Summary(counts={"pictures": sum(sizes), "pairs": pairs, "buckets": count})


def _sort(scores: Path, names: Sequence[str], sizes: Sequence[int], count: int, seed: int, out: Path) -> None:
    """Put all vectors beside those that are nearest to the same centre."""
    found = out / _CENTRES
    if not found.exists():
        made = centres(_sample(scores, names, sizes, count * SAMPLED, seed), count, seed)
        with replacing(found) as temporary, temporary.open("wb") as file:
            np.save(file, made)
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    turns = np.split(np.arange(len(names)), np.flatnonzero(np.diff(firsts[:-1] // _PART_ROWS)) + 1)
    tasks = [
        _Part(
            scores=scores,
            names=tuple(names[shard] for shard in turn),
            first=int(firsts[turn[0]]),
            centres=found,
            table=out / _PARTS / f"{shard_name(number)}.parquet",
        )
        for number, turn in enumerate(turns)
    ]
    for _ in map_shards(_sort_part, [task for task in tasks if not task.table.exists()]):
        pass


def _sample(scores: Path, names: Sequence[str], sizes: Sequence[int], wanted: int, seed: int) -> Floats:
    """Vectors of shards drawn by the seed, at least so many where there are."""
    order = np.random.default_rng(seed).permutation(len(names))
    needed = int(np.searchsorted(np.cumsum(np.array(sizes)[order]), wanted)) + 1
    return np.concatenate([_vectors(scores, names[shard]) for shard in np.sort(order[:needed])])


def _vectors(scores: Path, name: str) -> Floats:
    return vectors_of(pq.read_table(scores / f"{name}.parquet", columns=[EMBEDDING])[EMBEDDING])


def _sort_part(task: _Part) -> None:
    """A row group a bucket, with the numbers of the pictures."""
    vectors = np.concatenate([_vectors(task.scores, name) for name in task.names])
    middles = np.load(task.centres)
    bucket = nearest_centre(vectors, middles)
    order = np.argsort(bucket, kind="stable")
    ends = np.cumsum(np.bincount(bucket, minlength=len(middles)))
    kind = embeddings(vectors[:0]).type
    with (
        replacing(task.table) as temporary,
        pq.ParquetWriter(temporary, pa.schema([("row", pa.int64()), (EMBEDDING, kind)])) as writer,
    ):
        for rows in np.split(order, ends[:-1]):
            writer.write_table(
                pa.table([pa.array(rows + task.first), embeddings(vectors[rows])], schema=writer.schema),
                row_group_size=max(1, len(rows)),
            )


def _pair(task: _Bucket) -> None:
    """Write the near pairs of a bucket's clusters."""
    assert task.semantic.epsilon is not None
    stored = pa.concat_tables(
        pq.ParquetFile(part).read_row_group(task.number) for part in sorted(task.parts.glob("*.parquet"))
    )
    numbers, vectors = stored["row"].to_numpy(), vectors_of(stored[EMBEDDING])
    found = [NEIGHBOURS.empty_table()]
    for rows in clusters(vectors, task.semantic.cluster, task.semantic.seed):
        own = numbers[rows]
        for left, right, cosines in near_pairs(vectors[rows], 1 - task.semantic.epsilon):
            ends = np.sort(np.stack([own[left], own[right]]), axis=0).astype(np.int32)
            found.append(pa.table([*ends, cosines.astype(np.float32)], schema=NEIGHBOURS))
    write_table(task.table, pa.concat_tables(found).sort_by([("left", "ascending"), ("right", "ascending")]))
