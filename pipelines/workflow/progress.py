"""What the user sees while steps run: bars on a terminal, plain lines in a log."""

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TextIO

PLAIN_EVERY_S = 10.0


@dataclass
class Pace:
    """A step's progress and what follows from it: rate and time left."""

    started: float
    done: int = 0
    total: int | None = None
    failed: int = 0
    unit: str = "rows"
    first: tuple[float, int] | None = None
    """Time and count of the first report: what was there before a resumption does not count as speed."""
    printed: float = field(default=0.0)

    def update(self, body: dict[str, Any], now: float) -> None:
        self.done, self.total = body["done"], body["total"]
        self.failed, self.unit = body["failed"], body["unit"]
        if self.first is None:
            self.first = (now, self.done)

    def rate(self, now: float) -> float | None:
        if self.first is None or now - self.first[0] < 0.5 or self.done <= self.first[1]:
            return None
        return (self.done - self.first[1]) / (now - self.first[0])

    def describe(self, now: float) -> str:
        of = f"/{self.total:,}" if self.total else ""
        parts = [f"{self.done:,}{of} {self.unit}"]
        rate = self.rate(now)
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if rate and self.total:
            parts.append(f"{clock((self.total - self.done) / rate)} left")
        return " · ".join(parts)


def clock(seconds: float) -> str:
    """1:05, 2:03:04."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
    """Lines about steps. On a terminal running steps are bars below them; elsewhere a line every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._paces: dict[str, Pace] = {}
        self._rich: Any = None
        self._tasks: dict[str, Any] = {}
        self.width = 10

    def __enter__(self) -> "Display":
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            self._rich = Progress(
                SpinnerColumn(),
                TextColumn("{task.fields[step]}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                console=Console(file=self._stream, highlight=False),
                transient=True,
            )
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def line(self, text: str) -> None:
        if self._rich is not None:
            from rich.markup import escape

            self._rich.console.print(escape(text), soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def started(self, step: str, why: str) -> None:
        self._paces[step] = Pace(started=time.time())
        if self._rich is not None:
            self._tasks[step] = self._rich.add_task("", total=None, step=f"{step:<{self.width}}", text=why)
        else:
            self.line(f"▸ {step:<{self.width}}  {why}")

    def progress(self, step: str, body: dict[str, Any]) -> None:
        pace = self._paces.get(step)
        if pace is None:
            return
        now = time.time()
        pace.update(body, now)
        if self._rich is not None:
            self._rich.update(self._tasks[step], completed=pace.done, total=pace.total, text=pace.describe(now))
        elif now - max(pace.printed, pace.started) >= PLAIN_EVERY_S:
            pace.printed = now
            self.line(f"  {step:<{self.width}}  {pace.describe(now)}")

    def ended(self, step: str, mark: str, text: str) -> None:
        pace = self._paces.pop(step, None)
        if self._rich is not None and step in self._tasks:
            self._rich.remove_task(self._tasks.pop(step))
        took = f" · {clock(time.time() - pace.started)}" if pace else ""
        self.line(f"{mark} {step:<{self.width}}  {text}{took}")
