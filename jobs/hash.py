"""What each picture looks like (perceptual hash, colour signature, grey thumbnail), as columns beside the pictures."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.shards import map_shards
from vlp_core.curation.hashes import colours, grey, phash, thumbnail
from vlp_core.data.adopted import undecodable
from vlp_core.data.index import Reader
from vlp_core.data.layout import HASHES, SUCCESS, shard_names
from vlp_core.data.stored import index_shard, read_rows
from vlp_core.errors import UserError
from vlp_core.files import remove_leftovers, write_table
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "3"
RESUMABLE = True


@dataclass(frozen=True, kw_only=True)
class _Task:
    images: Path
    name: str
    out: Path


def run(*, images: Path, out: Path, tracker: Tracker) -> Summary:
    """Write HASHES of the fetched pictures, a table a shard; good tables of an attempt that was killed stay."""
    names = shard_names(images)
    if not names:
        raise UserError(f"{images}: no shards of pictures in this folder; give the output folder of download")
    remove_leftovers(out)
    progress = Progress(tracker, len(names), unit="shards")
    tasks = [_Task(images=images, name=name, out=out) for name in names]
    pictures = 0
    for _, hashed in map_shards(hash_shard, tasks):
        pictures += hashed
        progress.add(1)
    return Summary(counts={"pictures/hashed": pictures, "shards": len(names)})


def hash_shard(task: _Task) -> int:
    """Hash the pictures of a shard unless that is done; how many there are."""
    path = task.out / f"{task.name}.parquet"
    file, index = index_shard(task.images, task.name)
    if not _is_whole(path, index):
        write_table(path, _hashes(task, file, index))
    return len(index)


def _is_whole(path: Path, index: pa.Table) -> bool:
    try:
        done = pq.read_table(path, columns=["uid", "sha256"])
    except (OSError, pa.ArrowException):
        return False
    return done["uid"].equals(index["uid"]) and done["sha256"].equals(index["sha256"])


def _hashes(task: _Task, file: Path, index: pa.Table) -> pa.Table:
    rows = read_rows(task.images, task.name)
    rows = rows.filter(pc.equal(rows["status"], SUCCESS))
    if rows["uid"] != index["uid"]:  # else they are one another's, though a uid may stand there twice
        rows = rows.take(pc.index_in(index["uid"], value_set=rows["uid"].combine_chunks()))
    reader = Reader(open_files=1)
    hashes, signatures, greys = [], [], []
    for uid, offset, length in zip(*(index[name].to_pylist() for name in ("uid", "offset", "length")), strict=True):
        try:
            small = thumbnail(reader.read(file, offset, length))
        except OSError as error:
            raise undecodable(file, offset, uid, str(error)) from error
        hashes.append(phash(small))
        signatures.append(colours(small))
        greys.append(grey(small))
    looks = [pa.array(hashes, pa.uint64()), pa.array(signatures, pa.binary(192)), pa.array(greys, pa.binary(256))]
    columns = [index["uid"], index["sha256"], *looks]
    columns += [rows["original_width"].cast(pa.int32()), rows["original_height"].cast(pa.int32())]
    return pa.table(columns, schema=HASHES)
