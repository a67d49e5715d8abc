"""Rules compare the columns of judges: verdicts beside the pictures, and a funnel."""

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.columns import columns as columns_of
from jobs.measure import only_fetched
from jobs.shards import map_shards
from vlp_core.curation.funnel import Funnel, Stage
from vlp_core.curation.language import FASTTEXT, detector_named, fasttext_codes
from vlp_core.curation.quantities import JUDGES, judge_of, unknown
from vlp_core.curation.rules import Rule, parse_rules
from vlp_core.curation.settings import Filter
from vlp_core.curation.verdicts import LISTED, NO_CAPTION, judged
from vlp_core.data.layout import VERDICTS, shard_names
from vlp_core.data.stored import read_rows
from vlp_core.errors import UserError
from vlp_core.files import write_bytes, write_text
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "2"
RESUMABLE = False
FUNNEL_FILE = "funnel.json"
FUNNEL_PICTURE = "funnel.png"


_ALWAYS = (NO_CAPTION, LISTED)
_MOST = 32  # shards a task: one of a thousand pictures is judged before a task has begun


@dataclass(frozen=True, kw_only=True)
class _Task:
    """`placed` are the rules once each share of all is a number."""

    images: Path
    columns: tuple[Path, ...]
    names: tuple[str, ...]
    rules: tuple[Rule, ...]
    placed: tuple[Rule, ...]
    out: Path


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Of one shard: rows, successes, their captions; per rule the pictures and captions it took."""

    listed: int
    fetched: int
    captions: int
    pictures_lost: list[int]
    captions_lost: list[int]
    unknown: list[int]
    """Pictures of shards that lack the column which the rule asks for."""


def asked_rules(filter: Filter) -> tuple[Rule, ...]:
    """The rules in the order in which they are asked."""
    always = _ALWAYS if filter.as_listed else _ALWAYS[:1]
    return (*always, *(rule for rule in parse_rules(filter.rules) if rule not in always))


def judges_of(filter: Filter) -> set[str]:
    """The judges whose columns the rules compare."""
    return {judge_of(rule.quantity) for rule in asked_rules(filter)}


def run(*, images: Path, columns: tuple[Path, ...], filter: Filter, out: Path, tracker: Tracker) -> Summary:
    """Write VERDICTS of the fetched pictures, a table a shard, funnel.json and funnel.png.

    `columns` are folders of what judges found (see `jobs.measure`). A picture is lost to the first rule that it, or
    the last of its captions, fails; one without captions is lost at once. UserError where a rule asks for a column that
    no shard has; a warning where some lack it.
    """
    rules = asked_rules(filter)
    names = shard_names(images)
    if not names:
        raise UserError(f"{images}: no shards of pictures in this folder; give the output folder of download")
    parts = _parts(names)
    placed = _placed(rules, columns, parts)
    tasks = [_Task(images=images, columns=columns, names=part, rules=rules, placed=placed, out=out) for part in parts]
    progress = Progress(tracker, len(names), unit="shards")
    counts: list[_Counts] = []
    for task, found in map_shards(_judge, tasks):
        counts += found
        progress.add(len(task.names))
    _tell_unknown(rules, counts, images, tracker)
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
            **_thresholds(rules, placed),
        },
        pictures={"funnel": FUNNEL_PICTURE},
    )


def check_detector(filter: Filter) -> None:
    """UserError where a rule asks for the language and what should tell it is not there, or never gives that code."""
    rules = [rule for rule in asked_rules(filter) if rule.quantity == "language"]
    if rules:
        detector_named(filter.detector)
    if filter.detector != FASTTEXT:
        return  # its codes are its own
    for rule in rules:
        if rule.value not in fasttext_codes():
            close = difflib.get_close_matches(str(rule.value), sorted(fasttext_codes()), n=4, cutoff=0.5)
            such = f"; near it are {', '.join(close)}" if close else "; write it such as 'language=en'"
            raise UserError(f"rule '{rule}': the detector gives no language {rule.value!r}{such}")


def _parts(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The shards in runs of as many as a task takes; a few shards are a task each."""
    size = min(_MOST, -(-len(names) // _MOST))
    return [tuple(names[start : start + size]) for start in range(0, len(names), size)]


@dataclass(frozen=True, kw_only=True)
class _Values:
    """Asks for all values of the quantities of which a share is to pass."""

    columns: tuple[Path, ...]
    names: tuple[str, ...]
    quantities: tuple[str, ...]


def _placed(rules: tuple[Rule, ...], columns: tuple[Path, ...], parts: Sequence[tuple[str, ...]]) -> tuple[Rule, ...]:
    """The rules with the number that each share of all comes to."""
    asked = tuple(sorted({rule.quantity for rule in rules if rule.top is not None}))
    if not asked:
        return rules
    found: dict[str, list[np.ndarray]] = {quantity: [np.empty(0, np.float32)] for quantity in asked}
    tasks = [_Values(columns=columns, names=part, quantities=asked) for part in parts]
    for _, values in map_shards(_values, tasks):
        for quantity in asked:
            found[quantity].append(values[quantity])
    every = {quantity: np.concatenate(values) for quantity, values in found.items()}
    return tuple(rule.placed(every[rule.quantity]) if rule.top is not None else rule for rule in rules)


def _values(task: _Values) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {quantity: [np.empty(0, np.float32)] for quantity in task.quantities}
    for name in task.names:
        for quantity, values in columns_of(task.columns, name, task.quantities).items():
            if values is not None:
                found[quantity].append(values)
    return {quantity: np.concatenate(values) for quantity, values in found.items()}


def _thresholds(rules: Sequence[Rule], placed: Sequence[Rule]) -> dict[str, float]:
    """What each share of all came to: `threshold/clip_top30`."""
    pairs = ((rule, found) for rule, found in zip(rules, placed, strict=True) if rule.top is not None)
    return {
        f"threshold/{rule.quantity}_{str(rule.value).removesuffix('%')}": float(found.value) for rule, found in pairs
    }


def _judge(task: _Task) -> list[_Counts]:
    return [_judge_shard(task, name) for name in task.names]


def _judge_shard(task: _Task, name: str) -> _Counts:
    rows = read_rows(task.images, name, ["uid", "captions", "status"])
    pictures = only_fetched(rows)
    captions = pictures["captions"].combine_chunks()
    found = columns_of(task.columns, name, {rule.quantity for rule in task.rules})
    values = {rule.quantity: _values_of(task, name, rule, found[rule.quantity], captions) for rule in task.rules}
    verdicts = judged(task.placed, captions, values)
    rule_names = pa.array([str(rule) for rule in task.rules], pa.string())
    fell = pa.array(verdicts.rule, mask=verdicts.rule < 0)
    table = pa.table([pictures["uid"], rule_names.take(fell), verdicts.captions], schema=VERDICTS)
    pq.write_table(table, task.out / f"{name}.parquet", compression="zstd")  # a killed filter starts anew: no fsync
    return _Counts(
        listed=len(rows),
        fetched=len(pictures),
        captions=pc.sum(pc.list_value_length(captions)).as_py() or 0,
        pictures_lost=np.bincount(verdicts.rule[verdicts.rule >= 0], minlength=len(task.rules)).tolist(),
        captions_lost=verdicts.captions_lost,
        unknown=[len(pictures) if found[rule.quantity] is None else 0 for rule in task.rules],
    )


def _values_of(task: _Task, name: str, rule: Rule, values: np.ndarray | None, captions: pa.ListArray) -> np.ndarray:
    """[pictures] or [captions]; None each where the shard lacks the column."""
    count = len(pc.list_flatten(captions)) if rule.of_captions else len(captions)
    if values is None:
        return unknown(rule.quantity, count)
    if len(values) != count:
        raise UserError(f"{task.images / name}.parquet: {rule.quantity} was measured of other pictures; measure these")
    return values


def _tell_unknown(rules: Sequence[Rule], counts: Sequence[_Counts], images: Path, tracker: Tracker) -> None:
    """Sets that others stored lack what they did not write down: as a whole, or beside pictures that were fetched."""
    fetched = sum(count.fetched for count in counts)
    for number, rule in enumerate(rules):
        unknown = sum(count.unknown[number] for count in counts)
        needs = " and ".join(JUDGES[judge_of(rule.quantity)].needs.get(rule.quantity, (rule.quantity,)))
        if unknown and unknown == fetched:
            raise UserError(f"{images}: no column {needs} in any shard, which '{rule}' asks for; leave that rule out")
        if unknown:
            tracker.warn(
                f"{unknown:,} of {fetched:,} pictures have no {needs}, so that '{rule}' took them all; leave that rule "
                "out, or the sets that lack it"
            )


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
        lost=[  # what is always asked shows where it took something
            stage for rule, stage in zip(rules, lost, strict=True) if stage.pictures or rule not in _ALWAYS
        ],
    )


def _by_quantity(rules: Sequence[Rule], funnel: Funnel) -> dict[str, int]:
    """Pictures lost, by what the rules look at: their own names are no names for metrics."""
    quantity = {str(rule): rule.quantity for rule in rules}
    lost: dict[str, int] = {}
    for stage in funnel.lost:
        name = f"lost/{quantity[stage.rule]}"
        lost[name] = lost.get(name, 0) + stage.pictures
    return lost
