"""The DAG of a pipeline over a sample of its links: the same stages with the same settings, in a root of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs import adopt, adopt_pictures, corpus, download, ingest, repeat, sample, select, train
from pipelines.forecasting.settings import Sample
from pipelines.workflow.step import ResultFile, Step, step, walk
from vlp_core.curation.settings import Select
from vlp_core.data.settings import Data
from vlp_core.errors import UserError
from vlp_core.train.settings import Train

DOWNLOAD = "download"
"""The step that fetches what is trained on; those of evaluation sets have names that begin with it."""


def lists_in(steps: Sequence[Step]) -> list[Step]:
    """The steps that are made whole before anything is sampled: they ask no link, and the real run has use for them.

    UserError where the pictures that are trained on are not fetched.
    """
    names = {found.name for found in steps}
    if DOWNLOAD not in names:
        raise UserError("--forecast: asks a sample of links, and there are none to ask; give --source a list of links")
    if any(
        found.run in (adopt.run, adopt_pictures.run) and found.name in ("adopt", "adopt-pictures") for found in steps
    ):
        raise UserError("--forecast: asks a sample of links; leave out the --source that is data which is there")
    return [found for found in steps if found.run in (corpus.run, ingest.run)]


def is_whole(current: Step) -> bool:
    return current.run in (corpus.run, ingest.run)


def sampled(
    steps: Sequence[Step], lists: Mapping[str, Path], ask: Sample, share: float, decoded_once: bool
) -> list[Step]:
    """The steps over the sample. `lists` has the results of those that are made whole; `share` is that of the training
    list's links which is asked; `decoded_once` says whether training will keep the pictures it has decoded."""
    made: dict[str, Step] = {}
    for current in steps:
        if current.name in lists:
            continue
        inputs = {key: _of_sample(value, made, lists) for key, value in current.inputs.items()}
        if current.run is download.run:
            ending = current.name.removeprefix(DOWNLOAD)
            inputs["pairs"] = step(f"sample{ending}", sample.run, pairs=inputs["pairs"], links=ask.links)
        elif current.run is select.run:
            inputs["select"] = selecting(inputs["select"], share)
        elif current.run is train.run:
            training = inputs["train"]
            inputs["selection"] = step(
                f"repeat-{current.name}", repeat.run, selection=inputs["selection"], least=training.batch_size
            )
            inputs["train"] = short(training, ask.steps)
            inputs["data"] = inputs["data"] if decoded_once else replace(inputs["data"], keep_mb=0)
        made[current.name] = step(current.name, current.run, **inputs)
    return walk(list(made.values()))


def selecting(settings: Select, share: float) -> Select:
    """Balancing is by how many pairs match an entry: of a share of all, fewer do. The cap comes later."""
    if settings.balance is None:
        return replace(settings, at_most=None)
    return replace(settings, at_most=None, balance_t=max(1, round(settings.balance_t * share)))


def short(settings: Train, steps: int) -> Train:
    """So many steps, with points close enough to tell the first ones from the others, and two checkpoints."""
    few = min(steps, settings.steps)
    return replace(settings, steps=few, log_every=max(1, few // 10), checkpoint_every=max(1, few // 2))


def keeps_decoded(train: Train, data: Data, size: int, pictures: float, width: float, height: float) -> bool:
    """Whether most samples of a whole run come out of the memory for decoded pictures.

    A picture of so many pixels a side is decoded at the smallest 1/1, 1/2, 1/4, 1/8 of its size that is not below
    `size`.
    """
    by = 1
    while by < 8 and min(width, height) / (2 * by) >= size:
        by *= 2
    room = (data.keep_mb << 20) / max(3 * width * height / by**2, 1.0)
    drawn = train.steps * train.batch_size
    kept = min(room, pictures)
    fresh = min(drawn, pictures) + max(0.0, drawn - pictures) * (1 - kept / max(pictures, 1.0))
    return fresh < drawn / 2


def _of_sample(value: Any, made: Mapping[str, Step], lists: Mapping[str, Path]) -> Any:
    if isinstance(value, Step):
        return made.get(value.name) or lists[value.name]
    if isinstance(value, ResultFile):
        found = made.get(value.step.name)
        return lists[value.step.name] / value.name if found is None else found.file(value.name)
    if isinstance(value, list | tuple):
        return type(value)(_of_sample(item, made, lists) for item in value)
    return value
