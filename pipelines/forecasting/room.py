"""How much disk the results of the whole take, by those of the sample."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs import download, register, select, shard, train
from pipelines.forecasting.costs import stands_on
from pipelines.forecasting.training import saves
from pipelines.forecasting.yields import Drawn, Yields
from pipelines.workflow.step import Step
from vlp_core.data.stored import selection_count, stored_count
from vlp_core.train.checkpoint import FOLDER as CHECKPOINTS

_BY_ROWS = (".tar", ".parquet", "_stats.json")
KINDS = ("lists", "pictures", "judgements", "shards", "model", "checkpoints", "registered")


def room_of(
    steps: Sequence[Step],
    whole: Mapping[str, Path],
    sample: Mapping[str, Path],
    drawn: Mapping[str, Drawn],
    yields: Yields,
    *,
    own_store: bool,
) -> Counter[str]:
    """Bytes by kind. `whole` are the results that are made whole already; `own_store`: MLflow keeps what is registered
    in the root too."""
    room = Counter[str](dict.fromkeys(KINDS, 0))
    for current in steps:
        if current.name in whole:
            room[kind_of(current)] += size(whole[current.name])
        elif current.run is shard.run and current.name in sample:
            room["shards"] += _rewritten(current, sample, yields)
        elif current.run is train.run and current.name in sample:
            folder = sample[current.name]
            kept = [size(path) for path in (folder / CHECKPOINTS).glob("step-*")]
            count = min(current.inputs["train"].keep, saves(current.inputs["train"]))
            room["model"] += size(folder) - size(folder / CHECKPOINTS)
            room["checkpoints"] += round(count * sum(kept) / max(len(kept), 1))
        elif current.name in sample:
            by_rows, fixed = parts(sample[current.name])
            room[kind_of(current)] += round(fixed + by_rows * _larger(current, sample, drawn, yields))
            if current.run is register.run and own_store:
                room["registered"] += size(sample[current.name] / "export")
    return room


def made_room(steps: Sequence[Step], folders: Mapping[str, Path], root: Path) -> Counter[str]:
    """The same of a run that is finished."""
    room = Counter[str](dict.fromkeys(KINDS, 0))
    for current in steps:
        if current.name in folders:
            folder = folders[current.name]
            kept = size(folder / CHECKPOINTS)
            room["checkpoints"] += kept
            room[kind_of(current)] += size(folder) - kept
            if current.run is register.run:
                model = json.loads((folder / "_registered.json").read_text())["model_id"]
                room["registered"] += size(root / "mlartifacts" / "models" / model)
    return room


def kind_of(current: Step) -> str:
    if current.run is download.run:
        return "pictures"
    if current.run is shard.run:
        return "shards"
    if current.run is register.run:
        return "registered"
    if current.run is train.run or current.name.startswith("evaluate"):
        return "model"
    return "lists" if current.name.split("-")[0] in ("corpus", "ingest") else "judgements"


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; nothing where there is none."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else 0


def parts(folder: Path) -> tuple[int, int]:
    """Bytes that grow with the rows, and those that do not."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    by_rows = sum(path.stat().st_size for path in files if path.name.endswith(_BY_ROWS))
    return by_rows, sum(path.stat().st_size for path in files) - by_rows


def _larger(current: Step, sample: Mapping[str, Path], drawn: Mapping[str, Drawn], yields: Yields) -> float:
    """How many times the rows of its sample a step of the whole has."""
    if current.run is select.run or (stands_on(current, "select") and "select" in sample):
        return yields.selected.value / max(selection_count(sample["select"]), 1)
    on = [each for name, each in drawn.items() if current.name == name or stands_on(current, name)]
    trained = drawn["download"]
    return 1 / (trained.share if trained in on else max(on, key=lambda each: 1 / each.share, default=trained).share)


def _rewritten(current: Step, sample: Mapping[str, Path], yields: Yields) -> int:
    """Whether the whole selection is rewritten is by the share that it will be, which copies make smaller than the
    sample's."""
    settings = current.inputs["shard"]
    auto = settings.format == "auto"
    if settings.format == "none" or (
        auto and yields.selected.value / max(yields.fetched.value, 1) >= settings.sparse_below
    ):
        return size(sample[current.name] / "manifest.json")
    a_picture = size(sample["download"]) / max(stored_count(sample["download"]), 1)
    return round(a_picture * yields.selected.value)
