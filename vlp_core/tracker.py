"""What a stage may say while it works, and what it says at its end; who listens is not its business."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The end of a stage: counts and pictures (name -> file relative to the stage's output folder)."""

    counts: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)


class Tracker(Protocol):
    """Listens to a running stage. A call hands a small message over, no more, and never fails the stage."""

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Points of curves, by name, at a step."""

    def picture(self, name: str, png: bytes, *, step: int = 0) -> None:
        """A picture made along the way, as PNG bytes."""

    def table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        """A small table: column name -> values, all of one length."""

    def progress(self, done: int, total: int | None, *, failed: int = 0, unit: str = "rows") -> None:
        """How far the stage is; `done` includes the failed ones."""

    def warn(self, text: str) -> None:
        """One line that the user should see at once: something was wrong and has been dealt with."""


class Silent:
    """A tracker nobody listens to: for the library alone and for tests."""

    def metrics(self, values: Mapping[str, float], *, step: int) -> None: ...

    def picture(self, name: str, png: bytes, *, step: int = 0) -> None: ...

    def table(self, name: str, columns: Mapping[str, list[Any]]) -> None: ...

    def progress(self, done: int, total: int | None, *, failed: int = 0, unit: str = "rows") -> None: ...

    def warn(self, text: str) -> None: ...


class Progress:
    """Adds up what is done and tells the tracker, twice a second at most and at the end."""

    def __init__(self, tracker: Tracker, total: int | None, *, unit: str = "rows") -> None:
        self._tracker, self._total, self._unit = tracker, total, unit
        self._done, self._failed, self._said = 0, 0, 0.0

    def add(self, done: int, *, failed: int = 0) -> None:
        self._done += done
        self._failed += failed
        if self._done == self._total or time.monotonic() - self._said > 0.5:
            self._said = time.monotonic()
            self._tracker.progress(self._done, self._total, failed=self._failed, unit=self._unit)
