"""What each step of the whole takes of the machine, by what it took over the sample."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import (
    capfilt,
    captions,
    download,
    evaluate,
    filter,
    hash,
    measure,
    prompts,
    register,
    report,
    score,
    shard,
    train,
)
from jobs.fetch_crew import crew_of
from pipelines.forecasting.fetching import Busiest, Pace
from pipelines.forecasting.rehearsal import Rehearsed
from pipelines.forecasting.timeline import Load
from pipelines.forecasting.training import Steps
from pipelines.forecasting.yields import Drawn
from pipelines.workflow.record import RUN
from pipelines.workflow.step import Step
from vlp_core.web.settings import Fetch

SHARDED = (measure.run, hash.run, filter.run, score.run, prompts.run, shard.run, captions.run, capfilt.run)
"""Stages that map shards over the cluster; others are one process."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was seen of the sample's steps."""

    took: Mapping[str, tuple[float, float]]
    """When each began and ended, in seconds since 1970."""
    rehearsed: Rehearsed
    drawn: Mapping[str, Drawn]
    """By the name of each download, what of its list was asked."""
    paces: Mapping[str, Pace]
    busiest: Mapping[str, Busiest]
    trained: Mapping[str, Steps | None]
    """None where no step was timed."""
    shard_size: int


def loads_of(steps: Sequence[Step], made: Mapping[str, tuple[float, float]], seen: Measured) -> list[Load]:
    """The loads of the whole; `made` has when those steps began and ended that are made whole already."""
    return [_load(current, made, seen) for current in steps if current.name in made or current.name in seen.took]


def _load(current: Step, made: Mapping[str, tuple[float, float]], seen: Measured) -> Load:
    after = tuple(dict.fromkeys(each.name for each in current.dependencies))
    if current.name in made:
        began, ended = made[current.name]
        return Load(name=current.name, after=after, fixed=ended - began, work=0.0, share=0.0)
    began, ended = seen.took[current.name]
    took, cpus = ended - began, seen.rehearsed.cpus
    fixed, work, share = took, 0.0, 1 / cpus
    if current.run is download.run:
        fixed, work, share = _fetching(current, seen)
    elif current.run is train.run and (parts := seen.trained.get(current.name)):
        work, share = current.inputs["train"].steps * parts.a_step, 1.0
        fixed = parts.of(current.inputs["train"]) - work
    elif current.name in seen.rehearsed.costs:
        fixed, work, share = _by_rows(current, took, seen)
    elif current.run is not register.run:
        work = took * (_larger(current, seen) - 1)
    return Load(name=current.name, after=after, fixed=fixed, work=work, share=share)


def _fetching(current: Step, seen: Measured) -> tuple[float, float, float]:
    """Downloads that run at once wait for one another's CPUs: the first to ask has the least start."""
    fetch: Fetch = current.inputs["fetch"]
    pace, drawn, busiest = seen.paces[current.name], seen.drawn[current.name], seen.busiest[current.name]
    start = min(pace.first - seen.took[name][0] for name, pace in seen.paces.items())
    fixed = max(0.0, start) + pace.stragglers + max(0.0, seen.took[current.name][1] - pace.last)
    there, here = (_fetchers(fetch, links, seen) for links in (drawn.listed, drawn.asked))
    work = drawn.listed * pace.a_link * here / there
    limited = busiest.seconds(fetch) if current.inputs["serve"] is None else 0.0
    share = min(1.0, fetch.threads * there / seen.rehearsed.cpus)
    return (fixed, work, share) if work >= limited else (fixed, limited, share * work / limited)


def _fetchers(fetch: Fetch, links: int, seen: Measured) -> int:
    """How many there are for so many links; 0 stands for one in the step's own process."""
    if fetch.workers == 0:
        return 1
    return crew_of(fetch, seen.rehearsed.nodes, shards=-(-links // seen.shard_size), rows=links).workers


def _by_rows(current: Step, took: float, seen: Measured) -> tuple[float, float, float]:
    cost, drawn, cpus = seen.rehearsed.costs[current.name], seen.drawn["download"], seen.rehearsed.cpus
    fixed = max(0.0, took - cost.a_row * drawn.asked)
    links = drawn.listed
    if current.run is report.run:
        links = min(links, max(current.inputs["report"].rows, drawn.asked))
    if current.run not in SHARDED:
        return fixed, cost.a_row * links, 1 / cpus
    there, here = (min(cpus, -(-rows // seen.shard_size)) for rows in (links, drawn.asked))
    return fixed, cost.a_row * here * links / there, there / cpus


def _larger(current: Step, seen: Measured) -> float:
    """How much more there is of the evaluation sets that a step is about; 1 where they were asked whole."""
    return max(
        (1 / drawn.share for name, drawn in seen.drawn.items() if name != "download" and stands_on(current, name)),
        default=1.0,
    )


def stands_on(current: Step, name: str) -> bool:
    return any(
        each.name == name or (each.run is not train.run and stands_on(each, name)) for each in current.dependencies
    )


def phase_of(current: Step) -> str:
    """What a user calls it."""
    if current.run in (evaluate.run, register.run):
        return "scoring"
    if current.run in (train.run, captions.run, capfilt.run) or current.name == "tokenizer":
        return "training"
    return "fetching" if current.name.split("-")[0] in ("corpus", "ingest", "download", "adopt") else "judging"


def times_of(folders: Mapping[str, Path]) -> dict[str, tuple[float, float]]:
    """When the results in these folders were made."""
    return {name: (run["started"], run["finished"]) for name, run in _runs(folders).items()}


def times_again(folders: Mapping[str, Path]) -> dict[str, tuple[float, float]]:
    """The same, as long as they would take once more: what was compiled is kept."""
    return {
        name: (run["started"], run["finished"] - run.get("compiled_s", 0.0)) for name, run in _runs(folders).items()
    }


def _runs(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    return {name: json.loads((folder / RUN).read_text()) for name, folder in folders.items()}
