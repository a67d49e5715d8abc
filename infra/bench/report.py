#!/usr/bin/env python
"""How long a report takes and how much memory, on data sets of made-up rows, and how that grows.

    infra/bench/report.py --rows 100000 1000000 --folder /tmp/report

Shards of 1,000 rows, of which 10 % were not fetched, from 5,000 hosts whose sizes follow a power law; one or two
captions of up to 14 words; columns of sizes, words, language and score; 5 % are copies and 0.1 % stand in an evaluation
set. There are no pictures behind them (the page has boxes in their place): reading the hundred that are shown does not
depend on how many rows there are. Each size has its own process; what is made stays in the folder for the next time.
"CPU" is what the process computed: where others are at work on the machine, it says more than the seconds do.
"""

import json
import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tyro

from jobs import report
from jobs.columns import columns
from jobs.filter import FUNNEL_FILE
from jobs.select import REMOVED, REMOVED_FILE, SUMMARY_FILE
from vlp_core.curation.captions import of_pictures, of_texts
from vlp_core.curation.rules import parse_rules
from vlp_core.curation.shard import Shard
from vlp_core.curation.verdicts import judged
from vlp_core.data.layout import (
    CAPTIONS,
    COPIES,
    IMAGES,
    INDEX,
    SELECTION,
    SELECTION_FILE,
    SUCCESS,
    VERDICTS,
    shard_name,
)
from vlp_core.files import write_table
from vlp_core.report.settings import Report
from vlp_core.tracker import Silent

SHARD = 1000
RULES = parse_rules(("datacomp_basic", "clip>=0.22"))
_WORDS = pa.array(["".join(chr(97 + number // 17**place % 17) for place in range(3)) for number in range(17**3)])


@dataclass(frozen=True, kw_only=True)
class Bench:
    folder: Path
    """Where the data sets are made, 300 bytes a row."""
    rows: tuple[int, ...] = (100_000, 1_000_000)
    looked_at: int = Report.rows
    """As --report.rows."""


def make(folder: Path, count: int) -> None:
    """A data set as its steps leave it, under `folder`."""
    lost, kept = np.zeros((len(RULES), 2), np.int64), []
    fetched = captions = 0
    for number, start in enumerate(range(0, count, SHARD)):
        rows, found = _shard(folder, shard_name(number), start)
        lost += found
        kept.append(rows.filter(pc.is_null(rows["rule"])).drop_columns("rule"))
        fetched += len(rows)
        captions += int(pc.sum(pc.list_value_length(rows["captions"])).as_py())
    stages = [{"rule": str(r), "pictures": int(a), "captions": int(b)} for r, (a, b) in zip(RULES, lost, strict=True)]
    funnel = {"listed": count, "fetched": fetched, "kept": sum(map(len, kept)), "lost": stages}
    funnel["captions"] = {"fetched": captions, "kept": captions}
    (folder / "verdicts" / FUNNEL_FILE).write_text(json.dumps(funnel))
    _chosen(folder, pa.concat_tables(kept), fetched)


def _shard(folder: Path, name: str, start: int) -> tuple[pa.Table, np.ndarray]:
    rng = np.random.default_rng(start)
    uids = [f"{a:016x}{b:016x}" for a, b in rng.integers(0, 2**63, (SHARD, 2)).tolist()]
    failed = rng.random(SHARD) < 0.1
    reasons = rng.choice(["http 404", "http 403", "time-out", "not an image: html"], SHARD, p=[0.6, 0.2, 0.15, 0.05])
    hosts = (5000 * rng.random(SHARD) ** 4).astype(int)
    sides = [pa.array(np.exp(rng.normal(6.2, 0.6, SHARD)).astype(np.int32) + 20) for _ in range(2)]
    known = {
        "key": pa.array(uids), "uid": pa.array(uids), "sha256": pa.array([uid * 2 for uid in uids]),
        "url": pa.array([f"http://host{host}.test/{uid}.jpg" for host, uid in zip(hosts, uids, strict=True)]),
        "status": pa.array(np.where(failed, "failed_to_download", SUCCESS)),
        "error_message": pa.array(reasons, mask=~failed), "captions": _captions(rng),
        "original_width": sides[0], "original_height": sides[1], "bytes": pa.array(rng.integers(2000, 90_000, SHARD)),
    }  # fmt: skip
    table = pa.table([known.get(field.name, pa.nulls(SHARD, field.type)) for field in IMAGES], schema=IMAGES)
    write_table(folder / "images" / f"{name}.parquet", table)
    rows = table.filter(pa.array(~failed))
    places = pa.table({"offset": np.zeros(len(rows), np.int64), "length": np.zeros(len(rows), np.int64)})
    index = [rows["uid"], rows["sha256"], *places.columns, rows["captions"]]
    write_table(folder / "images" / f"{name}_index.parquet", pa.table(index, schema=INDEX))
    shard = Shard(rows=rows.combine_chunks())
    of_each = len(shard.texts)
    lists = {
        **of_texts(shard),
        "language": pa.array(rng.choice(["en", "fr", "de"], of_each, p=[0.9, 0.06, 0.04])),
        "clip": pa.array(rng.normal(0.26, 0.04, of_each).astype(np.float32)),
    }
    told = {name: pa.ListArray.from_arrays(shard.captions.offsets, values) for name, values in lists.items()}
    write_table(folder / "columns" / f"{name}.parquet", pa.table({"uid": rows["uid"], **of_pictures(shard), **told}))
    values = columns([folder / "columns"], name, {rule.quantity for rule in RULES})
    verdicts = judged(RULES, shard.captions, values)
    fell = pa.array([str(rule) for rule in RULES]).take(pa.array(verdicts.rule, mask=verdicts.rule < 0))
    written = pa.table([rows["uid"], fell, verdicts.captions], schema=VERDICTS)
    write_table(folder / "verdicts" / f"{name}.parquet", written)
    pictures = np.bincount(verdicts.rule[verdicts.rule >= 0], minlength=len(RULES))
    return written, np.stack([pictures, np.array(verdicts.captions_lost)], axis=1)


def _captions(rng: np.random.Generator) -> pa.ListArray:
    """One of each picture, two of every eighth."""
    ends = np.cumsum([0, *(1 + (np.arange(SHARD) % 8 == 0))]).astype(np.int32)
    lengths = np.concatenate([[0], np.cumsum(rng.integers(1, 15, ends[-1]))]).astype(np.int32)
    words = _WORDS.take(pa.array((len(_WORDS) * rng.random(lengths[-1]) ** 3).astype(np.int64)))
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(lengths), words), " ")
    return pa.ListArray.from_arrays(pa.array(ends), texts).cast(CAPTIONS)


def _chosen(folder: Path, kept: pa.Table, fetched: int) -> None:
    """5 % of what passes copies of another, 0.1 % removed, the rest selected."""
    rng = np.random.default_rng(0)
    draw = rng.random(len(kept))
    uids = kept["uid"].cast(pa.large_string())
    copies, leaks = np.flatnonzero(draw < 0.05), np.flatnonzero(draw > 0.999)
    stays = rng.choice(np.flatnonzero(draw >= 0.05), len(copies))
    reasons = pa.array(np.where(rng.random(len(copies)) < 0.5, "exact", "near"))
    table = [uids.take(pa.array(copies)), uids.take(pa.array(stays)), reasons.cast(pa.large_string())]
    write_table(folder / "copies/00000.parquet", pa.table([*table, copies, stays], schema=COPIES))
    gone = uids.take(pa.array(leaks))
    theirs = [pa.array(["retrieval"] * len(leaks)), gone, pa.array(["near"] * len(leaks))]
    write_table(folder / "selection" / REMOVED_FILE, pa.table([gone, *theirs], schema=REMOVED))
    chosen = kept.filter(pa.array((draw >= 0.05) & (draw <= 0.999)))
    weight, sha256 = pa.array(np.ones(len(chosen), np.float32)), pa.nulls(len(chosen), pa.large_string())
    columns = [chosen["uid"].cast(pa.large_string()), weight, chosen["captions"].cast(SELECTION.field(2).type), sha256]
    write_table(folder / "selection" / SELECTION_FILE, pa.table(columns, schema=SELECTION).sort_by("uid"))
    removed = {"rules": fetched - len(kept), "copies": len(copies), "evaluation": len(leaks), "at_most": 0}
    summary = {"digest": "0" * 64, "rows": len(chosen), "captions": len(chosen), "removed": removed}
    (folder / "selection" / SUMMARY_FILE).write_text(json.dumps(summary))


def measured(folder: Path, looked_at: int, against: bool) -> tuple[float, float, float, int]:
    """Seconds, those of CPU, GiB of memory at most, and bytes of the page."""
    settings = Report(rows=looked_at, against=folder / "images" if against else None)
    start, used = time.monotonic(), time.process_time()
    report.run(
        images=folder / "images",
        columns=(folder / "columns",),
        verdicts=folder / "verdicts",
        copies=folder / "copies",
        selection=folder / "selection",
        names=("retrieval",),
        report=settings,
        against=report.against_of(settings),
        out=folder,
        tracker=Silent(),
    )
    seconds, cpu = time.monotonic() - start, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds, cpu, memory, (folder / report.PAGE).stat().st_size


def main(bench: Bench) -> None:
    print(f"{'rows':>12} {'drift':>6} {'seconds':>8} {'CPU':>8} {'GiB':>6} {'page, MB':>9}")
    for count in bench.rows:
        folder = bench.folder / str(count)
        if not (folder / "selection" / SUMMARY_FILE).exists():
            make(folder, count)
        for against in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, cpu, memory, size = pool.apply(measured, (folder, bench.looked_at, against))
            print(f"{count:12,} {against!s:>6} {seconds:8.1f} {cpu:8.1f} {memory:6.2f} {size / 1e6:9.2f}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Bench))
