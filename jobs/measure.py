"""Judges look at every fetched picture and caption once: what they find are columns, which rules compare."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.shards import map_shards
from vlp_core.curation.captions import caption_counts
from vlp_core.curation.hashes import phash, thumbnail
from vlp_core.curation.language import FASTTEXT
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.shard import Shard
from vlp_core.data.adopted import undecodable
from vlp_core.data.index import Reader
from vlp_core.data.layout import CAPTIONS, SUCCESS, shard_names
from vlp_core.data.stored import index_shard, read_rows
from vlp_core.errors import UserError
from vlp_core.files import remove_leftovers, write_table
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "1"
RESUMABLE = True
_SHARED = "_shared.parquet"


@dataclass(frozen=True, kw_only=True)
class _Task:
    images: Path
    name: str
    judges: tuple[str, ...]
    detector: str
    shared: Path | None
    out: Path


def versions(judges: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The judges by name with their versions, as `run` takes them."""
    return tuple((name, JUDGES[name].version) for name in sorted(judges))


def run(
    *, images: Path, judges: tuple[tuple[str, str], ...], detector: str = FASTTEXT, out: Path, tracker: Tracker
) -> Summary:
    """Write uid and the columns of these judges, a table a shard: a value a picture, or a list of one a caption.

    A column is null throughout where `images` lacks what it is worked out from. Good tables of an attempt that was
    killed stay.
    """
    names = shard_names(images)
    if not names:
        raise UserError(f"{images}: no shards of pictures in this folder; give the output folder of download")
    remove_leftovers(out)
    asked = tuple(name for name, _ in judges)
    shared = None
    if any(JUDGES[name].whole for name in asked):
        shared = out / _SHARED
        if not shared.exists():
            _count_shared(images, names, shared)
    tasks = [_Task(images=images, name=name, judges=asked, detector=detector, shared=shared, out=out) for name in names]
    progress = Progress(tracker, len(names), unit="shards")
    pictures = 0
    for _, measured in map_shards(_measure, tasks):
        pictures += measured
        progress.add(1)
    if shared is not None:
        shared.unlink()
    return Summary(counts={"pictures/measured": pictures, "shards": len(names)})


def _measure(task: _Task) -> int:
    """Write a shard's columns unless that is done; how many pictures it has."""
    rows = fetched(task.images, task.name)
    path = task.out / f"{task.name}.parquet"
    if not _is_whole(path, rows):
        shard = Shard(
            rows=rows,
            detector=task.detector,
            shared=_read_shared(task.shared),
            phashes=partial(_phashes, task.images, task.name, rows["uid"]),
        )
        write_table(path, _columns(shard, task.judges))
    return len(rows)


def _phashes(images: Path, name: str, uids: pa.ChunkedArray, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """[rows] perceptual hashes of some of a shard's pictures."""
    file, index = index_shard(images, name)
    at = index.take(pc.index_in(uids.take(pa.array(rows)), value_set=index["uid"].combine_chunks()))
    reader = Reader(open_files=1)
    found = []
    for uid, offset, length in zip(*(at[name].to_pylist() for name in ("uid", "offset", "length")), strict=True):
        try:
            found.append(phash(thumbnail(reader.read(file, offset, length))))
        except OSError as error:
            raise undecodable(file, offset, uid, str(error)) from error
    return np.array(found, np.uint64)


def _columns(shard: Shard, judges: Sequence[str]) -> pa.Table:
    table = {"uid": shard.rows["uid"]}
    for name in judges:
        judge = JUDGES[name]
        assert judge.measure is not None, name
        found = judge.measure(shard)
        for quantity in judge.gives:
            values = found.get(quantity)
            if values is None:
                table[quantity] = pa.nulls(len(shard))
            elif judge.of == "captions":
                table[quantity] = pa.ListArray.from_arrays(shard.offsets, values)
            else:
                table[quantity] = values
    return pa.table(table)


def _is_whole(path: Path, rows: pa.Table) -> bool:
    try:
        return pq.read_table(path, columns=["uid"])["uid"].equals(rows["uid"])
    except (OSError, pa.ArrowException):
        return False


def fetched(images: Path, name: str) -> pa.Table:
    """A shard's rows (IMAGES) that were fetched."""
    return only_fetched(read_rows(images, name))


def only_fetched(rows: pa.Table) -> pa.Table:
    rows = rows.filter(pc.equal(rows["status"], SUCCESS))
    at = rows.schema.get_field_index("captions")
    return rows.set_column(at, "captions", rows["captions"].cast(CAPTIONS)).combine_chunks()


# How many pictures share a caption is known only once all shards have been read.


@dataclass(frozen=True, kw_only=True)
class _CountTask:
    images: Path
    name: str


def _count_captions(task: _CountTask) -> pa.Table:
    keys, counts = caption_counts(fetched(task.images, task.name)["captions"].combine_chunks())
    return pa.table({"key": keys, "count": counts})


def _count_shared(images: Path, names: Sequence[str], path: Path) -> None:
    """Write the captions that more than one picture has, by key: 16 bytes for each that is seen while counting."""
    total = pa.table({"key": pa.array([], pa.uint64()), "count": pa.array([], pa.int64())})
    waiting = [total]
    rows = 0
    for _, counts in map_shards(_count_captions, [_CountTask(images=images, name=name) for name in names]):
        waiting.append(counts)
        rows += len(counts)
        if rows > max(2**20, len(total)):
            total, rows = _added_up(waiting), 0
            waiting = [total]
    total = _added_up(waiting)
    write_table(path, total.filter(pc.greater(total["count"], 1)).sort_by("key"))


def _added_up(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).group_by("key").aggregate([("count", "sum")]).rename_columns(["key", "count"])


@lru_cache(1)
def _read_shared(path: Path | None) -> tuple[np.ndarray, np.ndarray] | None:
    if path is None:
        return None
    table = pq.read_table(path)
    return table["key"].to_numpy(), table["count"].to_numpy()
