"""A sparse or asked-for selection rewritten into equal shards of its own; a dense one stays where it is."""

import io
import json
import math
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.shards import map_shards
from vlp_core.data.adopted import shard_of
from vlp_core.data.index import ROW_GROUP, Reader, index_rows
from vlp_core.data.layout import CAPTIONS, INDEX, SUCCESS, shard_name
from vlp_core.data.settings import Shard
from vlp_core.data.stored import MANIFEST_FILE, join, read_rows, selection_count, stored_count
from vlp_core.errors import UserError
from vlp_core.files import remove_leftovers, replacing, write_table, write_text
from vlp_core.identity import canonical_json, sha256_of_file
from vlp_core.tracker import Summary, Tracker
from vlp_core.uids import digest_of_texts

VERSION = "2"
RESUMABLE = True
SEALS = "_seals"  # what each shard's files were when written: by it a later attempt knows them to be whole
SAMPLES = "samples"  # in a seal: of which pictures they are, for after a purge others fall to the shard

_IMAGES = pa.schema([("uid", pa.string()), ("sha256", pa.string()), ("image", pa.binary()), ("captions", CAPTIONS)])


@dataclass(frozen=True)
class _Task:
    """One shard to write: INDEX of its samples, and the shard (position in `files`) that each is read from."""

    out: Path
    number: int
    format: str
    key_digits: int
    files: list[Path]
    samples: pa.Table


def run(*, images: Path, selection: Path, shard: Shard, out: Path, tracker: Tracker) -> Summary:
    """Rewrite `selection` into shards under `out`, or say in the manifest why the stored ones will do.

    Pictures' bytes are copied as they are, in storage order; shards differ by one sample at most.
    """
    remove_leftovers(out)
    stored, selected = stored_count(images), selection_count(selection)
    if not selected:
        raise UserError(f"{selection}: it keeps no picture; loosen the filters")
    format, reason = _decide(shard, selected, stored)
    shards = []
    if format:
        files, samples, _ = join(images, selection)
        shards = _write_all(files, samples, shard.size, format, out, tracker)
    manifest = {"resharded": format is not None, "format": format, "reason": reason, "shards": shards}
    write_text(out / MANIFEST_FILE, canonical_json(manifest) + "\n")
    return Summary(counts={"pictures/stored": stored, "pictures/selected": selected, "shards": len(shards)})


def _decide(shard: Shard, selected: int, stored: int) -> tuple[str | None, str]:
    """The format to write, or none, and the reason for it."""
    if shard.format == "none":
        return None, "rewriting is off (format none)"
    if shard.format != "auto":
        return shard.format, f"format {shard.format} was asked for"
    share = selected / stored
    found = f"{selected} of {stored} stored pictures are selected ({share:.1%})"
    if share < shard.sparse_below:
        return "webdataset", f"{found}, less than {shard.sparse_below:.0%}"
    return None, f"{found}, at least {shard.sparse_below:.0%}: they are read where they are"


def _write_all(
    files: list[Path], samples: pa.Table, size: int, format: str, out: Path, tracker: Tracker
) -> list[dict[str, Any]]:
    count = math.ceil(len(samples) / size)
    bounds = np.linspace(0, len(samples), count + 1).round().astype(int)
    digits = max(4, math.ceil(math.log10(size)))
    tasks = [
        # take, where slice would send the whole table's buffers to each worker
        _Task(out, number, format, digits, files, samples.take(np.arange(bounds[number], bounds[number + 1])))
        for number in range(count)
    ]
    entries = []
    for _, entry in map_shards(_write, tasks):
        entries.append(entry)
        tracker.progress(len(entries), count, unit="shards")
    return sorted(entries, key=lambda entry: entry["name"])


def _write(task: _Task) -> dict[str, Any]:
    """One shard; an earlier attempt's stays where all its files are as they were written. Its manifest entry."""
    name = shard_name(task.number)
    pictures = f"{name}.tar" if task.format == "webdataset" else f"{name}.images.parquet"
    seal = task.out / SEALS / f"{name}.json"
    digests = _digests(task.out, [pictures, f"{name}.parquet", f"{name}_stats.json", f"{name}_index.parquet"])
    samples = {SAMPLES: digest_of_texts(task.samples["uid"])}
    if None in digests.values() or _sealed(seal) != digests | samples:
        _write_files(task, task.out / pictures)
        digests = _digests(task.out, list(digests))
        write_text(seal, canonical_json(digests | samples) + "\n")
    return {"name": pictures, "count": len(task.samples), "sha256": digests[pictures]}


def _digests(out: Path, names: list[str]) -> dict[str, str | None]:
    return {name: sha256_of_file(out / name) if (out / name).exists() else None for name in names}


def _sealed(seal: Path) -> Any:
    """The digests of a shard's files and samples when it had been written; None where that is not known."""
    try:
        return json.loads(seal.read_text())
    except (OSError, ValueError):
        return None


def _write_files(task: _Task, pictures: Path) -> None:
    name = shard_name(task.number)
    rows = _rows(task)
    if task.format == "webdataset":
        _write_tar(pictures, rows, _bodies(task))
        index = index_rows(pictures, rows)
    else:
        _write_parquet(pictures, rows, _bodies(task))
        places = [pa.array(range(len(rows)), pa.int64()), task.samples["length"]]
        index = pa.table([rows["uid"], rows["sha256"], *places, rows["captions"]], names=INDEX.names).cast(INDEX)
    write_table(task.out / f"{name}.parquet", rows)
    write_text(task.out / f"{name}_stats.json", canonical_json(_stats(len(rows))) + "\n")
    write_table(task.out / f"{name}_index.parquet", index)


def _rows(task: _Task) -> pa.Table:
    """The samples' rows (IMAGES and what came along) under new keys, with the selection's captions."""
    tables = []
    for number in dict.fromkeys(task.samples["file"].to_pylist()):
        file = task.files[number]
        rows = read_rows(*shard_of(file))
        tables.append(rows.filter(pc.equal(rows["status"], SUCCESS)))
    rows = pa.concat_tables(tables, promote_options="permissive")
    rows = rows.take(pc.index_in(task.samples["uid"].cast(pa.string()), value_set=rows["uid"].combine_chunks()))
    captions = task.samples["captions"].cast(CAPTIONS)
    first = [listed[0] if listed else None for listed in captions.to_pylist()]
    keys = [f"{shard_name(task.number)}{row:0{task.key_digits}d}" for row in range(len(rows))]
    columns = {"key": pa.array(keys), "caption": pa.array(first, pa.string()), "captions": captions}
    for name, column in (columns | {"sha256": task.samples["sha256"].cast(pa.string())}).items():
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, column)
        else:
            rows = rows.append_column(name, column)
    return rows


def _bodies(task: _Task) -> Iterator[bytes]:
    reader = Reader()
    columns = (task.samples[name].to_pylist() for name in ("file", "offset", "length"))
    for number, offset, length in zip(*columns, strict=True):
        yield reader.read(task.files[number], offset, length)
    reader.close()


def _write_tar(path: Path, rows: pa.Table, bodies: Iterator[bytes]) -> None:
    """img2dataset's layout: key.jpg, key.txt, key.json; times and owners zero."""
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for batch in rows.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                described = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
                _add(tar, f"{row['key']}.jpg", next(bodies))
                _add(tar, f"{row['key']}.txt", (row["caption"] or "").encode())
                _add(tar, f"{row['key']}.json", described.encode())


def _add(tar: tarfile.TarFile, name: str, body: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    member.mode = 0o444
    tar.addfile(member, io.BytesIO(body))


def _write_parquet(path: Path, rows: pa.Table, bodies: Iterator[bytes]) -> None:
    """Row groups of a few pictures, so that one is read without many others; encoded pictures do not compress."""
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, _IMAGES, compression="none", use_dictionary=False) as file,
    ):
        for start in range(0, len(rows), ROW_GROUP):
            part = rows.slice(start, ROW_GROUP)
            column = pa.array([next(bodies) for _ in range(len(part))], pa.binary())
            file.write_table(pa.table([part["uid"], part["sha256"], column, part["captions"]], schema=_IMAGES))


def _stats(count: int) -> dict[str, Any]:
    return {
        "count": count,
        "successes": count,
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "status_dict": {SUCCESS: count},
    }
