"""A pipeline of small stages, for the tests to start as a process."""

from dataclasses import dataclass
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


def build(config: Toy) -> list[Step]:
    words = step("write", stages.write, text=config.text)
    last = [
        step("shout", stages.shout, words=words, mark=config.mark),
        step("count", stages.count, count=stages.Count()),
    ]
    if config.fail:
        failing = step(config.fail, getattr(stages, config.fail), words=words)
        last.append(step("after", stages.shout, words=failing, mark="!"))
    return last


if __name__ == "__main__":
    raise SystemExit(run_pipeline("toy", Toy, build, headline=("shout",)))
