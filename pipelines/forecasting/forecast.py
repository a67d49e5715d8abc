"""A forecast: the pipeline over a sample, in a root of its own below the real one, and what follows for the whole."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs import download, train
from pipelines.forecasting.costs import Measured, loads_of, phase_of, times_again, times_of
from pipelines.forecasting.fetching import busiest_of, pace_of
from pipelines.forecasting.figures import PHASES, Figures, markdown, rows_of, table
from pipelines.forecasting.rehearsal import Rehearsed, rehearse, remove_left
from pipelines.forecasting.room import made_room, room_of
from pipelines.forecasting.sampled import DOWNLOAD, is_whole, keeps_decoded, lists_in, sampled
from pipelines.forecasting.settings import FOLDER, Forecasting, Sample
from pipelines.forecasting.timeline import Load, Span, busy, timeline
from pipelines.forecasting.training import Steps, steps_of
from pipelines.forecasting.warned import warnings_of
from pipelines.forecasting.yields import SELECTED, Drawn, made_of, yields_of
from pipelines.words import bytes_told
from pipelines.workflow.cli import Invocation, Workflow
from pipelines.workflow.ending import OK
from pipelines.workflow.plan import folders_made
from pipelines.workflow.step import Step
from pipelines.workflow.tracking import FINISHED, Tracking, store_of
from vlp_core.curation.settings import Select
from vlp_core.data.layout import shard_names
from vlp_core.files import write_text
from vlp_core.train.stopwatch import read_times

FORECAST_FILE = "forecast.json"
_STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def run_or_forecast(invocation: Invocation) -> int:
    """What a pipeline with `Forecasting` flags does. Returns the exit code."""
    workflow = invocation.workflow
    if not isinstance(workflow, Forecasting) or not workflow.forecast:
        return invocation.run()
    return Forecast(invocation, Sample(links=workflow.forecast_links, steps=workflow.forecast_steps)).run()


@dataclass(frozen=True)
class Forecast:
    """One forecast of one pipeline."""

    invocation: Invocation
    ask: Sample

    @property
    def root(self) -> Path:
        """Where the sample's results lie."""
        return self.invocation.root / FOLDER

    def run(self) -> int:
        real, root = self.invocation, self.invocation.root
        remove_left(self.root)
        steps = real.steps()
        lists = lists_in(steps)
        code = self._make(root, lists, real.config)
        if code:
            return code
        whole = folders_made(lists, root)
        drawn = {each.name: self._drawn(each, whole) for each in steps if each.run is download.run and _is_asked(each)}
        of_sample = sampled(steps, whole, self.ask, drawn[DOWNLOAD].share, self._decodes_once(steps, drawn))
        with _own_store():
            self.root.mkdir(exist_ok=True)
            code = self._make(self.root, of_sample, self.ask)
        if code:
            return code
        found = folders_made(of_sample, self.root)
        rehearsed = rehearse(of_sample, found, self.root)
        figures = self._figures(steps, whole, found, drawn, rehearsed)
        self._tell(figures, self._made(steps), steps)
        return OK

    def _make(self, root: Path, steps: Sequence[Step], config: Any) -> int:
        workflow = Workflow(root=root, verify=self.invocation.workflow.verify)
        return replace(
            self.invocation,
            config=config,
            workflow=workflow,
            build=lambda _: list(steps),
            root=root,
            run_name=f"{self.invocation.run_name} forecast".strip(),
        ).run()

    def _drawn(self, current: Step, whole: Mapping[str, Path]) -> Drawn:
        pairs = whole[current.inputs["pairs"].name]
        listed = sum(pq.read_metadata(pairs / f"{name}.parquet").num_rows for name in shard_names(pairs))
        return Drawn(asked=min(listed, self.ask.links), listed=listed)

    def _decodes_once(self, steps: Sequence[Step], drawn: Mapping[str, Drawn]) -> bool:
        """Whether training will have most pictures decoded already: by their size as they are stored."""
        for current in steps:
            if current.run is train.run:
                inputs = current.inputs
                side = next(each for each in steps if each.name == DOWNLOAD).inputs["fetch"].image_size
                return keeps_decoded(
                    inputs["train"], inputs["data"], _size_of(inputs["recipe"]), drawn[DOWNLOAD].listed, side, side
                )
        return True

    def _figures(
        self,
        steps: Sequence[Step],
        whole: Mapping[str, Path],
        found: Mapping[str, Path],
        drawn: Mapping[str, Drawn],
        rehearsed: Rehearsed,
    ) -> Figures:
        by_name = {each.name: each for each in steps}
        settings = by_name["select"].inputs["select"] if "select" in by_name else Select()
        sets = {
            name.removeprefix("download-").replace("-", "_"): each.share
            for name, each in drawn.items()
            if name != DOWNLOAD
        }
        untold = untold_of(by_name)
        yields = yields_of(found, drawn[DOWNLOAD], settings, None if "evaluation" in untold else sets)
        seen = self._measured(by_name, whole, found, drawn, rehearsed)
        loads = loads_of(steps, times_of(whole), seen)
        spans = timeline(loads)
        root = self.invocation.root
        room = room_of(steps, whole, found, drawn, yields, own_store=store_of(root).startswith("sqlite:"))
        return Figures(
            yields=yields,
            room=room,
            untold=untold,
            seconds=_phases(by_name, spans),
            fixed=_fixed(by_name, loads),
            details={
                "asked": {name: asdict(each) for name, each in drawn.items()},
                "cpus": rehearsed.cpus,
                "steps": {
                    load.name: {"fixed_s": load.fixed, "work_s": load.work, "share": load.share} for load in loads
                },
                "training": {name: parts and asdict(parts) for name, parts in seen.trained.items()},
                "busiest_hosts": {name: asdict(each) for name, each in seen.busiest.items()},
            },
        )

    def _measured(
        self,
        by_name: Mapping[str, Step],
        whole: Mapping[str, Path],
        found: Mapping[str, Path],
        drawn: Mapping[str, Drawn],
        rehearsed: Rehearsed,
    ) -> Measured:
        took = times_again(found)
        trained: dict[str, Steps | None] = {}
        for name, folder in found.items():
            if name in by_name and by_name[name].run is train.run:
                times = read_times(folder)
                trained[name] = steps_of(times, *took[name]) if times else None
        return Measured(
            took={name: times for name, times in took.items() if name in by_name},
            rehearsed=rehearsed,
            drawn=drawn,
            paces={name: pace_of(found[name]) for name in drawn},
            busiest={name: busiest_of(whole[by_name[name].inputs["pairs"].name]) for name in drawn},
            trained=trained,
            shard_size=self.invocation.config.ingest.shard_size,
        )

    def _made(self, steps: Sequence[Step]) -> Figures | None:
        """What the real run shows, where all of it is there."""
        folders = folders_made(list(steps), self.invocation.root)
        if len(folders) < len(steps):
            return None
        took = times_of(folders)
        spans = {name: Span(start=start, end=end) for name, (start, end) in took.items()}
        by_name = {each.name: each for each in steps}
        return Figures(
            yields=made_of(folders),
            room=made_room(steps, folders, self.invocation.root),
            seconds=_phases(by_name, spans),
        )

    def _tell(self, figures: Figures, made: Figures | None, steps: Sequence[Step]) -> None:
        root, rows = self.invocation.root, rows_of(figures, made)
        said = figures.as_json() | ({} if made is None else {"made": made.as_json()})
        free = shutil.disk_usage(root).free
        said["free_bytes"] = free
        warnings = list(warnings_of(figures, steps, None if made else free))
        write_text(self.root / FORECAST_FILE, json.dumps(said | {"warnings": warnings}, indent=1, default=float) + "\n")
        print(f"\n{table(rows)}\n")
        if made is None and figures.disk <= free:
            print(f"leaves {bytes_told(free - figures.disk)} of {bytes_told(free)} that are free in {root}")
        for warning in warnings:
            print(f"! {warning}")
        trained = f" and {self.ask.steps} steps" if any(current.run is train.run for current in steps) else ""
        print(f"forecast of {self.ask.links:,} links a list{trained}: {self.root / FORECAST_FILE}")
        tracking = Tracking(root, self.invocation.name, f"{self.invocation.run_name} forecast".strip())
        tracking.open({**asdict(self.invocation.config), "forecast": asdict(self.ask)}, " ".join(sys.argv))
        tracking.close(
            status=FINISHED,
            pictures=[self.root / FORECAST_FILE],
            headline=figures.metrics(),
            note="\n\n".join([f"**forecast** of {self.invocation.name}", markdown(rows), *warnings]),
            tags={"vlp.forecast": "true"},
        )


def _is_asked(current: Step) -> bool:
    return isinstance(current.inputs["pairs"], Step) and is_whole(current.inputs["pairs"])


def untold_of(by_name: Mapping[str, Step]) -> Set[str]:
    """The yields that are of no step of the DAG: all but what is fetched without a selection, and evaluation pictures
    where there is no set of them."""
    if "select" not in by_name:
        return SELECTED
    inputs = by_name["select"].inputs
    return frozenset() if inputs["evaluations"] or inputs["against"] else frozenset({"evaluation"})


def _size_of(recipe: Any) -> int:
    """The side in pixels that a recipe reads."""
    return int(getattr(recipe, "image_size", 224))


def _phases(by_name: Mapping[str, Step], spans: Mapping[str, Span]) -> dict[str, float]:
    found = {}
    for phase in PHASES:
        of_phase = [span for name, span in spans.items() if phase_of(by_name[name]) == phase]
        if of_phase:
            found[phase] = busy(of_phase)
    return found | {"all": busy(list(spans.values()))}


def _fixed(by_name: Mapping[str, Step], loads: Sequence[Load]) -> dict[str, float]:
    """On the path of each phase: of the steps that are at work at once, the longest start."""
    spans = timeline([replace(load, work=0.0) for load in loads])
    return _phases(by_name, spans)


@contextmanager
def _own_store() -> Iterator[None]:
    """Models of a sample go into a registry of their own, not among those of the team."""
    given = {name: os.environ.pop(name) for name in _STORES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(given)
