"""When training reached which step, beside its result: what a step, a checkpoint and the start of a run take."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TIMES_FILE = "_times.jsonl"  # its name keeps it out of the record: no two runs take the same
Mark = Literal["begun", "reached", "saved"]


class Stopwatch:
    """Appends the times at which a run begins to step, reaches a step and has saved a checkpoint."""

    def __init__(self, out: Path) -> None:
        self._path = out / TIMES_FILE

    def mark(self, what: Mark, step: int) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"what": what, "step": step, "at": time.time()}) + "\n")


@dataclass(frozen=True, kw_only=True)
class Times:
    """What the last attempt of a run took, in seconds; `windows` are (steps, seconds) between two marks."""

    begun: float
    ended: float
    windows: tuple[tuple[int, float], ...]
    saves: tuple[float, ...]


def read_times(out: Path) -> Times | None:
    """None where the run has no times, or took no step."""
    try:
        marks = [json.loads(line) for line in (out / TIMES_FILE).read_text().splitlines()]
    except FileNotFoundError:
        return None
    starts = [number for number, mark in enumerate(marks) if mark["what"] == "begun"]
    if not starts or len(marks) - starts[-1] < 2:
        return None
    windows, saves = [], []
    before = first = marks[starts[-1]]
    for mark in marks[starts[-1] + 1 :]:
        seconds, steps = mark["at"] - before["at"], mark["step"] - before["step"]
        if mark["what"] == "saved":
            saves.append(seconds)
        elif steps:
            windows.append((steps, seconds))
        before = mark
    return Times(begun=first["at"], ended=before["at"], windows=tuple(windows), saves=tuple(saves))
