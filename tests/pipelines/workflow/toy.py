"""A pipeline of small stages, for the tests to start as a process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.step import Step, step
from tests.pipelines.workflow import stages


@dataclass(frozen=True, kw_only=True)
class Toy:
    """Write words, shout them."""

    text: stages.Text = stages.Text()
    mark: str = "!"
    fail: Literal["", "refuse", "burst", "fill_disk"] = ""
    file: Path | None = None
    """A file of the user's, read once the words are there."""
    meddle: bool = False
    """Write to that file while it is read."""


def build(config: Toy) -> list[Step]:
    words = step("write", stages.write, text=config.text)
    last = [
        step("shout", stages.shout, words=words, mark=config.mark),
        step("count", stages.count, count=stages.Count()),
    ]
    if config.file:
        last.append(step("add", stages.add, words=words, file=config.file, meddle=config.meddle))
    if config.fail:
        failing = step(config.fail, getattr(stages, config.fail), words=words)
        last.append(step("after", stages.shout, words=failing, mark="!"))
    return last


if __name__ == "__main__":
    raise SystemExit(run_pipeline("toy", Toy, build, headline=("shout",)))
