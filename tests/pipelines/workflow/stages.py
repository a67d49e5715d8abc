"""Small real stages for the tests of the workflow."""

import errno
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from vlp_core.errors import UserError
from vlp_core.settings import execution, extends
from vlp_core.tracker import Summary, Tracker

VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class Text:
    words: tuple[str, ...] = ("a", "b")
    repeat: int = 1
    pause_s: float = execution(0.0)


@dataclass(frozen=True, kw_only=True)
class Count:
    steps: int = extends(3)


def write(*, text: Text, out: Path, tracker: Tracker) -> Summary:
    time.sleep(text.pause_s)
    (out / "words.txt").write_text(" ".join(text.words * text.repeat))
    tracker.progress(len(text.words), len(text.words))
    return Summary(counts={"words": len(text.words) * text.repeat})


def pair(*, out: Path, tracker: Tracker) -> Summary:
    for name in ("a", "b"):
        (out / f"{name}.txt").write_text(name)
    return Summary(counts={"files": 2})


def shout(*, words: Path, mark: str, out: Path, tracker: Tracker) -> Summary:
    body = (words / "words.txt").read_text().upper() + mark
    (out / "loud.txt").write_text(body)
    (out / "_TAGS.json").write_text(json.dumps({"loudest": body}))
    tracker.metrics({"length": len(body)}, step=1)
    return Summary(counts={"chars": len(body)})


def read(*, files: tuple[Path, ...], out: Path, tracker: Tracker) -> Summary:
    (out / "all.txt").write_text("".join(path.read_text() for path in files))
    return Summary(counts={"files": len(files)})


def add(*, words: Path, file: Path, meddle: bool, out: Path, tracker: Tracker) -> Summary:
    (out / "sum.txt").write_text((words / "words.txt").read_text() + file.read_text())
    if meddle:
        file.write_text("changed")
    tracker.warn("the file was added")
    return Summary(counts={"files": 2})


def count(*, count: Count, out: Path, tracker: Tracker, previous: Path | None = None) -> Summary:
    start = int((previous / "count.txt").read_text()) if previous else 0
    (out / "count.txt").write_text(str(count.steps))
    return Summary(counts={"from": start, "to": count.steps})


@cache
def twice() -> Callable[[int], int]:
    from vlp_core.compiled import njit

    @njit(cache=False)
    def twice(number: int) -> int:
        return 2 * number

    return cast(Callable[[int], int], twice)


def double(*, number: int, out: Path, tracker: Tracker) -> Summary:
    """By a loop that is compiled, once a process: nothing keeps it."""
    return Summary(counts={"twice": twice()(number)})


def refuse(*, words: Path, out: Path, tracker: Tracker) -> Summary:
    raise UserError(f"{words.name}: nothing to say; add words")


def burst(*, words: Path, out: Path, tracker: Tracker) -> Summary:
    (out / "half.txt").write_text("half")
    raise RuntimeError("burst")


def fill_disk(*, words: Path, out: Path, tracker: Tracker) -> Summary:
    raise OSError(errno.ENOSPC, "No space left on device")
