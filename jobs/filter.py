"""Rules judge the pictures and their captions: verdicts beside the pictures, and a funnel."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.shards import map_shards
from vlp_core.curation.funnel import Funnel, Stage
from vlp_core.curation.language import Detector, detector_named, fasttext
from vlp_core.curation.rules import Rule, parse_rules
from vlp_core.curation.settings import Filter
from vlp_core.curation.verdicts import NEEDS, NO_CAPTION, Judge, caption_counts
from vlp_core.data.layout import CAPTIONS, SUCCESS, VERDICTS, shard_names
from vlp_core.data.stored import read_rows
from vlp_core.errors import UserError
from vlp_core.files import write_bytes, write_table, write_text
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "1"
RESUMABLE = False
FUNNEL_FILE = "funnel.json"
FUNNEL_PICTURE = "funnel.png"


@dataclass(frozen=True, kw_only=True)
class _Task:
    images: Path
    name: str
    rules: tuple[Rule, ...]
    detector: str
    shared: Path | None
    out: Path


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Of one shard: rows, successes, their captions; per rule the pictures and captions it took."""

    listed: int
    fetched: int
    captions: int
    pictures_lost: list[int]
    captions_lost: list[int]


def run(*, images: Path, filter: Filter, out: Path, tracker: Tracker) -> Summary:
    """Write VERDICTS of the fetched pictures, a table a shard, funnel.json and funnel.png.

    A picture is lost to the first rule that it, or the last of its captions, fails; one without captions is lost at
    once. UserError where a rule, a set or the language detector is not known.
    """
    rules = (NO_CAPTION, *(rule for rule in parse_rules(filter.rules) if rule != NO_CAPTION))
    check_detector(filter)
    names = shard_names(images)
    if not names:
        raise UserError(f"{images}: no shards of pictures in this folder; give the output folder of download")
    shared = None
    if any(rule.quantity == "shared" for rule in rules):
        shared = out / "_shared.parquet"
        _count_shared(images, names, shared)
    tasks = [
        _Task(images=images, name=name, rules=rules, detector=filter.detector, shared=shared, out=out) for name in names
    ]
    progress = Progress(tracker, len(tasks), unit="shards")
    counts = []
    for _, count in map_shards(_judge, tasks):
        counts.append(count)
        progress.add(1)
    if shared is not None:
        shared.unlink()
    funnel = _funnel(rules, counts)
    write_text(out / FUNNEL_FILE, json.dumps(funnel.as_json(), indent=2) + "\n")
    write_bytes(out / FUNNEL_PICTURE, funnel.png())
    tracker.table("funnel", {"rule": [s.rule for s in funnel.lost], "lost": [s.pictures for s in funnel.lost]})
    return Summary(
        counts={
            "pictures/fetched": funnel.fetched,
            "pictures/kept": funnel.kept,
            "captions/kept": funnel.kept_captions,
            **_by_quantity(rules, funnel),
        },
        pictures={"funnel": FUNNEL_PICTURE},
    )


def check_detector(filter: Filter) -> None:
    """UserError where a rule asks for the language and what should tell it is not there."""
    _detector(parse_rules(filter.rules), filter.detector)


def _detector(rules: Sequence[Rule], name: str) -> Detector:
    """What tells the language; another's is imported only where a rule asks for it."""
    return detector_named(name) if any(rule.quantity == "language" for rule in rules) else fasttext


def _judge(task: _Task) -> _Counts:
    pictures, listed = _fetched(task.images, task.name, task.rules)
    judge = Judge(rules=task.rules, detector=_detector(task.rules, task.detector), shared=_read_shared(task.shared))
    verdicts = judge(pictures)
    rule_names = pa.array([str(rule) for rule in task.rules], pa.string())
    fell = pa.array(verdicts.rule, mask=verdicts.rule < 0)
    table = pa.table([pictures["uid"], rule_names.take(fell), verdicts.captions], schema=VERDICTS)
    write_table(task.out / f"{task.name}.parquet", table)
    return _Counts(
        listed=listed,
        fetched=len(pictures),
        captions=pc.sum(pc.list_value_length(pictures["captions"])).as_py() or 0,
        pictures_lost=np.bincount(verdicts.rule[verdicts.rule >= 0], minlength=len(task.rules)).tolist(),
        captions_lost=verdicts.captions_lost,
    )


def _fetched(images: Path, name: str, rules: Sequence[Rule]) -> tuple[pa.Table, int]:
    """A shard's pictures that were fetched, and how many rows it has."""
    rows = read_rows(images, name)
    asked = {column: rule for rule in rules for column in NEEDS.get(rule.quantity, ())}
    for column, rule in asked.items():
        if column not in rows.column_names:
            raise UserError(
                f"{images / name}.parquet: no column {column!r}, which '{rule}' asks for; leave that rule out"
            )
    fetched = rows.filter(pc.equal(rows["status"], SUCCESS)).select(["captions", "uid", *asked])
    return fetched.set_column(0, "captions", fetched["captions"].cast(CAPTIONS)), len(rows)


def _funnel(rules: Sequence[Rule], counts: Sequence[_Counts]) -> Funnel:
    def total(of: Callable[[_Counts], int]) -> int:
        return sum(of(count) for count in counts)

    lost = [
        Stage(
            rule=str(rule),
            pictures=sum(count.pictures_lost[number] for count in counts),
            captions=sum(count.captions_lost[number] for count in counts),
        )
        for number, rule in enumerate(rules)
    ]
    return Funnel(
        listed=total(lambda count: count.listed),
        fetched=total(lambda count: count.fetched),
        captions=total(lambda count: count.captions),
        lost=lost if lost[0].pictures else lost[1:],  # what is always asked shows where it took something
    )


def _by_quantity(rules: Sequence[Rule], funnel: Funnel) -> dict[str, int]:
    """Pictures lost, by what the rules look at: their own names are no names for metrics."""
    quantity = {str(rule): rule.quantity for rule in rules}
    lost: dict[str, int] = {}
    for stage in funnel.lost:
        name = f"lost/{quantity[stage.rule]}"
        lost[name] = lost.get(name, 0) + stage.pictures
    return lost


# How many pictures share a caption is known only once all shards have been read.


@dataclass(frozen=True, kw_only=True)
class _CountTask:
    images: Path
    name: str


def _count_captions(task: _CountTask) -> pa.Table:
    keys, counts = caption_counts(_fetched(task.images, task.name, ())[0]["captions"].combine_chunks())
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


def _read_shared(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    if path is None:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    table = pq.read_table(path)
    return table["key"].to_numpy(), table["count"].to_numpy()
