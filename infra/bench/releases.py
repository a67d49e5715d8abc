#!/usr/bin/env python
"""How long a refresh takes beside asking the web, at what memory, and how that grows; no pictures are fetched or read.

    infra/bench/releases.py --folder /tmp/releases --rows 100000 1000000 10000000

The first release of so many links; then a list of which a tenth is new and a tenth has left; then the same with every
link due after the days. What is asked answers 404. Each stage runs in a process of its own: seconds, and the peak of
its process and of the largest of Ray's beside it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tyro
from curate import MIB, Workers, apart

from vlp_core.data.layout import CAPTIONS, IMAGES, INDEX, PAIRS, SUCCESS, iterate_shards, shard_name, shard_names
from vlp_core.data.spread import select_as
from vlp_core.files import write_bytes, write_table
from vlp_core.tracker import Silent

SHARD = 10_000
NAME = "bench"
DAYS = {"first": 0, "a tenth": 1, "all due": 400}


@dataclass(frozen=True, kw_only=True)
class Bench:
    folder: Path
    rows: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)


def write_pairs(out: Path, first: int, last: int) -> None:
    """Pairs of the links from `first` to `last`, whose uids depend on their numbers alone."""
    for number, start in enumerate(range(first, last, SHARD)):
        at = np.arange(start, min(last, start + SHARD), dtype=np.uint64)
        uids = pa.array([f"{(int(i) * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128:032x}" for i in at])
        texts = pc.binary_join_element_wise("a caption of some ten words that stands for", uids, "on a page", " ")
        captions = pa.ListArray.from_arrays(pa.array(np.arange(len(at) + 1, dtype=np.int32)), texts).cast(CAPTIONS)
        urls = pc.binary_join_element_wise("http://host.test/some/folder/of/pictures/", uids, ".jpg", "")
        columns = [uids, urls, captions, pa.array(["list"] * len(at))]
        write_table(out / f"{shard_name(number)}.parquet", pa.table(columns, schema=PAIRS))


def write_fetched(pairs: Path, out: Path, *, found: bool) -> None:
    """As if the links had been asked: a picture each, or 404."""
    out.mkdir(parents=True)
    for name, table in zip(shard_names(pairs), iterate_shards(pairs), strict=True):
        rows = table.append_column("key", table["uid"])
        rows = rows.append_column("status", pa.array([SUCCESS if found else "failed_to_download"] * len(table)))
        if found:
            rows = rows.append_column("sha256", pc.binary_join_element_wise(table["uid"], table["uid"], ""))
        else:
            rows = rows.append_column("error_message", pa.array(["http 404"] * len(table)))
        rows = select_as(rows, IMAGES)
        places = {"offset": pa.array(np.full(len(rows), 512)), "length": pa.array(np.full(len(rows), 1000))}
        index = select_as(
            rows.append_column("offset", places["offset"]).append_column("length", places["length"]), INDEX
        )
        write_table(out / f"{name}.parquet", rows)
        write_table(out / f"{name}_index.parquet", index if found else index.slice(0, 0))
        write_bytes(out / f"{name}.tar", bytes(1))


def run_stage(root: Path, turn: str, stage: str) -> tuple[float, float, float, dict[str, float]]:
    """Seconds, MiB of this process and of the largest of Ray's workers, and counts."""
    import resource
    import time
    from datetime import UTC, datetime, timedelta

    from jobs import changes, publish, release
    from jobs.release_card import Card
    from vlp_core.curation.settings import Near
    from vlp_core.data.releases import Next, newest
    from vlp_core.web.settings import Fetch

    before = newest(root, NAME)
    following = Next(
        name=NAME,
        number=1 if before is None else before.number + 1,
        as_of=(datetime.now(UTC) + timedelta(days=DAYS[turn])).replace(microsecond=0).isoformat(),
        before=None if before is None else before.digest,
        folder=None if before is None else before.path,
    )
    pairs, asked, out = (root / folder / turn for folder in ("ingest", "changes", stage))
    out.mkdir(parents=True)
    common: dict[str, Any] = {"pairs": pairs, "next": following, "out": out, "tracker": Silent()}
    with Workers() as workers:
        if stage == "release":
            workers.start()
        start = time.perf_counter()
        if stage == "changes":
            summary = changes.run(**common, recheck_days=90, shard_size=SHARD)
        else:
            known = asked if asked.exists() else None
            download = root / "download" / turn
            summary = release.run(
                **common, download=download, changes=known, fetch=Fetch(), near=Near(alike=1), card=Card()
            )
        seconds = time.perf_counter() - start
    if stage == "release":
        (root / "published" / turn).mkdir(parents=True)
        publish.run(release=out, next=following, out=root / "published" / turn, tracker=Silent())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, peak, workers.most / MIB, dict(summary.counts)


def main(bench: Bench) -> None:
    print(f"{'rows':>11} {'turn':8} {'stage':8} {'s':>8} {'MiB':>7} {'workers':>8}  counts", flush=True)
    for rows in bench.rows:
        root = bench.folder / str(rows)
        for turn in DAYS:
            apart(
                write_pairs,
                root / "ingest" / turn,
                *((0, rows) if turn == "first" else (rows // 10, rows + rows // 10)),
            )
            for stage in ("release",) if turn == "first" else ("changes", "release"):
                if stage == "release":
                    known = root / "changes" / turn
                    asked = known if known.exists() else root / "ingest" / turn
                    apart(found_first if turn == "first" else found_none, asked, root / "download" / turn)
                seconds, own, workers, counts = apart(run_stage, root, turn, stage)
                said = ", ".join(f"{key} {value:,.0f}" for key, value in counts.items() if value)
                print(
                    f"{rows:11,} {turn:8} {stage:8} {seconds:8.1f} {own:7.0f} {workers:8.0f}  {said[:160]}", flush=True
                )
        shutil.rmtree(root)


def found_first(pairs: Path, out: Path) -> None:
    write_fetched(pairs, out, found=True)


def found_none(pairs: Path, out: Path) -> None:
    write_fetched(pairs, out, found=False)


if __name__ == "__main__":
    main(tyro.cli(Bench))
