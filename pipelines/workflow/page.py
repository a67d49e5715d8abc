"""The page of a pipeline's run in MLflow: what one wants to see first, and links to the rest."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.workflow import dag
from pipelines.workflow.record import Record
from pipelines.workflow.results import Results
from pipelines.workflow.step import Step
from pipelines.workflow.tracking import Tracking

LINKS, TAGS = "_LINKS.json", "_TAGS.json"
NOTE_CHARS = 8000
"""Of a run's note that MLflow takes; what is longer it cuts, with a warning."""
CHANCE = "_chance"
"""How scores of guessing are named: they stand beside the others on the step's own run."""


@dataclass(frozen=True)
class Page:
    """What became of the steps: their states, a note on each, and the records of those that are made."""

    steps: list[Step]
    states: Mapping[str, str]
    notes: Mapping[str, str]
    records: Mapping[str, Record]
    results: Results

    def pictures(self, folder: Path) -> list[Path]:
        """The DAG and the steps' pictures in `folder`, under names that tell them apart."""
        pictures = [folder / "dag.png"]
        dag.draw(self.steps, self.states, self.notes, pictures[0])
        for name, record in self.records.items():
            for file in record.pictures.values():
                source = self.results.folder(name, record.fingerprint) / file
                pictures.append(Path(shutil.copyfile(source, folder / f"{name}-{source.name}")))
        return pictures

    def headline(self, steps: tuple[str, ...]) -> dict[str, float]:
        """The counts of these steps, as `step/count`."""
        made = [name for name in steps if name in self.records]
        return {
            f"{name}/{key}": value
            for name in made
            for key, value in self.records[name].counts.items()
            if not key.endswith(CHANCE)
        }

    def tags(self) -> dict[str, str]:
        """What steps left in `_TAGS.json` (name -> text): how the run is found by what came of it."""
        folders = [self.results.folder(name, record.fingerprint) for name, record in self.records.items()]
        return {name: text for folder in folders for name, text in _left_in(folder / TAGS).items()}

    def note(self, pipeline: str, pictures: list[Path], tracking: Tracking) -> str:
        """Markdown: links to pictures, to what was registered, and to each step's run."""
        rows, links = [], []
        for step in self.steps:
            if step.name in tracking.children:
                state, note = self.states.get(step.name, "waiting"), self.notes.get(step.name, "")
                rows.append((tracking.link(step.name), state, note))
            if step.name in self.records:
                links += _links(self.results.folder(step.name, self.records[step.name].fingerprint))
        shown = " · ".join(tracking.link_to_artifact(picture.stem, picture.name) for picture in pictures)
        above = "\n\n".join([f"**{pipeline}** in `{self.results.root}`", shown, *links])
        return f"{above}\n\n{steps_table(rows, NOTE_CHARS - len(above) - 2)}"


def steps_table(rows: Sequence[tuple[str, str, str]], room: int) -> str:
    """Steps with their states and notes in Markdown; in less room without notes, and then the last of them."""
    head = ["| step | | |", "|---|---|---|"]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if len("\n".join([*head, *lines])) > room:
        lines = [f"| {link} | {state} | |" for link, state, _ in rows]
    left, more = 0, list[str]()
    while lines and len("\n".join([*head, *more, *lines])) > room:
        lines, left = lines[1:], left + 1
        more = [f"| {left} more before | | |"]
    return "\n".join([*head, *more, *lines])


def describe(counts: Mapping[str, float]) -> str:
    """The first counts of a step that are not zero (nor what chance gives), as its line shows them.

    A count is `12 rows read`; what is no whole number by its type is a figure, `top1 0.91`.
    """
    told = {key.replace("/", " "): value for key, value in counts.items() if not key.endswith(CHANCE)}
    shown = {key: value for key, value in told.items() if value} or told
    texts = [
        f"{key} {_figure(value)}" if isinstance(value, float) else f"{value:,} {key}" for key, value in shown.items()
    ]
    return " · ".join(texts[:4])


def _figure(value: float) -> str:
    text = f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:,.4g}"
    return f"{text}.0" if text.lstrip("-").isdigit() else text


def _links(folder: Path) -> list[str]:
    """Links into the MLflow UI that a step left in `_LINKS.json` (text -> address), as Markdown."""
    return [f"[{text}]({address})" for text, address in _left_in(folder / LINKS).items()]


def _left_in(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
