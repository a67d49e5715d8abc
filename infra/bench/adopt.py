#!/usr/bin/env python
"""How many rows a second of data that is there become images, and in how much memory.

    infra/bench/adopt.py --rows 100000 1000000 --workers 2

A folder as img2dataset writes it: one tar of 10,000 pictures, written by the library that img2dataset writes tars with,
stands in it under as many names as there are shards (hard links: it takes its size once, and is read out of the page
cache from the second on), each with a Parquet file of rows of its own. `workers` processes take a shard each in turn.
"""

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from jobs.adopt_shard import Task, adopt_shard
from vlp_core.curation.lists import CAPTION_NAMES
from vlp_core.data.layout import SUCCESS, shard_name
from vlp_core.data.parts import parts_of
from vlp_core.data.samples import Samples
from vlp_core.identity import sha256_of

_SHARD = 10_000


@dataclass(frozen=True, kw_only=True)
class Bench:
    rows: tuple[int, ...] = (100_000, 1_000_000)
    workers: int = 2
    picture_bytes: int = 20_000
    sha256: Literal["parquet", "bytes"] = "parquet"
    """Whether img2dataset wrote the hashes down, or every picture is read for its own."""
    folder: Path | None = None
    """Where it is tried; a temporary folder if not given."""


def main(bench: Bench) -> None:
    print(f"{'rows':>10} {'seconds':>8} {'rows/s':>9} {'CPU µs/row':>10} {'MB peak':>8} {'open s':>7}")
    for rows in bench.rows:
        folder = Path(tempfile.mkdtemp(dir=bench.folder))
        try:
            _write(folder / "set", rows, bench)
            seconds, cpu, peak = _adopted(folder, bench.workers)
            started = time.perf_counter()
            assert len(Samples.open(folder / "images")) == rows
            opened = time.perf_counter() - started
            speed, each = rows / seconds, cpu / rows * 1e6
            print(f"{rows:>10,} {seconds:>8.1f} {speed:>9,.0f} {each:>10.1f} {peak:>8.0f} {opened:>7.1f}")
        finally:
            shutil.rmtree(folder)


def _adopted(folder: Path, workers: int) -> tuple[float, float, float]:
    """Wall seconds from listing the folder on, CPU seconds, and the largest peak of a process in MB."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(_ready, range(workers), chunksize=1)
        started = time.perf_counter()
        tasks = [
            Task(part=part, name=shard_name(number), out=folder / "images", caption_names=CAPTION_NAMES, skip=False)
            for number, part in enumerate(parts_of(str(folder / "set")))
        ]
        measured = pool.map(_measured, tasks, chunksize=1)
        seconds = time.perf_counter() - started
    return seconds, sum(cpu for cpu, _ in measured), max(peak for _, peak in measured)


def _ready(_: int) -> None:
    time.sleep(0.5)  # so that each process gets one


def _measured(task: Task) -> tuple[float, float]:
    started = time.process_time()
    adopt_shard(task)
    return time.process_time() - started, _peak()


def _peak() -> float:
    """MB; what `getrusage` says begins with the peak of the process that started this one."""
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(said["VmHWM"].split()[0]) / 1024


def _write(folder: Path, rows: int, bench: Bench) -> None:
    from webdataset import TarWriter

    folder.mkdir()
    count = min(rows, _SHARD)
    body = os.urandom(bench.picture_bytes)
    keys = [f"{number:09d}" for number in range(count)]
    with TarWriter(str(folder / "00000.tar")) as tar:
        for key in keys:
            row = {"key": key, "url": f"http://pictures.test/{key}.jpg", "status": SUCCESS, "sha256": sha256_of(body)}
            tar.write({"__key__": key, "jpg": body, "txt": "a caption", "json": json.dumps(row, indent=4)})
    for shard in range(rows // count):
        name = shard_name(shard)
        if shard:
            (folder / f"{name}.tar").hardlink_to(folder / "00000.tar")
        pq.write_table(_rows(shard, keys, hashed=bench.sha256 == "parquet"), folder / f"{name}.parquet")


def _rows(shard: int, keys: list[str], *, hashed: bool) -> pa.Table:
    """What img2dataset writes of a shard."""
    urls = [f"http://host-{number % 997}.test/{shard}/a-picture-of-a-thing-{number}.jpg" for number in range(len(keys))]
    sides = pa.array([256 + number % 99 for number in range(len(keys))], pa.int32())
    columns = {
        "url": urls,
        "caption": [f"a picture of thing {number} as somebody on the web would describe it" for number in keys],
        "key": keys,
        "status": [SUCCESS] * len(keys),
        "error_message": pa.nulls(len(keys), pa.string()),
        **dict.fromkeys(("width", "height", "original_width", "original_height"), sides),
        "exif": ["{}"] * len(keys),
    }
    return pa.table(columns | ({"sha256": [sha256_of(url.encode()) for url in urls]} if hashed else {}))


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
