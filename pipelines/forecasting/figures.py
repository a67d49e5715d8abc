"""What a run gives, takes and leaves: of a forecast, and in the same words of a run that is finished."""

from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.forecasting.yields import Yields
from pipelines.words import bytes_told
from pipelines.workflow.progress import clock
from vlp_core.curation.unseen import Estimate

Shown = Callable[[float], str]
PHASES = ("fetching", "judging", "training", "scoring")
_YIELDS = {
    "links": "links of the list",
    "fetched": "pictures fetched",
    "passed": "… that pass the rules",
    "copies": "… of which are copies",
    "evaluation": "… and evaluation pictures",
    "selected": "pictures selected",
    "captions": "captions selected",
}
_ROOM = {
    "lists": "the lists",
    "pictures": "pictures",
    "judgements": "what judges say",
    "shards": "rewritten shards",
    "model": "model and scores",
    "checkpoints": "checkpoints",
    "registered": "registered model",
}
_STEPPED = ("training", "all")  # phases that last as long as training's steps
_UNSTEADY = 0.1  # standard error of a step's seconds, as a share of them
ABOUT, AT_LEAST = "≈ ", "≥ "


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Rows, bytes and seconds of a whole run."""

    yields: Yields
    room: Mapping[str, int]
    """Bytes on disk, by kind."""
    seconds: Mapping[str, float]
    """By phase, in which steps may be at work side by side; `all` is from the first to the last."""
    fixed: Mapping[str, float] = field(default_factory=dict)
    """Of those, what does not grow with links or steps; the sum over steps."""
    untold: Set[str] = frozenset()
    """The yields that no step of the DAG is about."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the rest was worked out from."""

    @property
    def unsure(self) -> dict[str, str]:
        """The trainings of which it is not known what a step takes, and the mark of all times that hang on it."""
        found = {}
        for name, parts in self.details.get("training", {}).items():
            if parts is None:
                found[name] = AT_LEAST
            elif parts["spread"] is None or parts["spread"] > _UNSTEADY:
                found[name] = ABOUT
        return found

    def mark(self, phase: str) -> str:
        """What the time of a phase is not to be read without."""
        marks = self.unsure.values() if phase in _STEPPED else ()
        return AT_LEAST if AT_LEAST in marks else ABOUT if marks else ""

    @property
    def disk(self) -> int:
        return sum(self.room.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "yield": asdict(self.yields),
            "disk_bytes": {**self.room, "all": self.disk},
            "seconds": dict(self.seconds),
            "fixed_seconds": dict(self.fixed),
            **self.details,
        }

    def metrics(self) -> dict[str, float]:
        """Flat, for MLflow."""
        found = {f"forecast/{name}": estimate["value"] for name, estimate in asdict(self.yields).items()}
        found |= {f"forecast/disk_bytes/{name}": float(value) for name, value in self.room.items()}
        return found | {f"forecast/seconds/{name}": value for name, value in self.seconds.items()}


def rows_of(forecast: Figures, made: Figures | None) -> list[tuple[str, str, str, str]]:
    """What, the forecast, between which it lies, and what the finished run shows."""
    rows = []
    for name, title in _YIELDS.items():
        if name in forecast.untold:
            continue
        rows.append((title, *_estimate(getattr(forecast.yields, name), _count), _made(made, name, _count)))
    rows.append(("transferred", *_estimate(forecast.yields.transfer, bytes_told), _made(made, "transfer", bytes_told)))
    rooms = {**{name: forecast.room[name] for name in _ROOM if forecast.room[name]}, "all": forecast.disk}
    for name, value in rooms.items():
        there = "" if made is None else bytes_told(made.disk if name == "all" else made.room[name])
        rows.append((f"disk, {_ROOM.get(name, 'all')}", bytes_told(value), "", there))
    for name in (*PHASES, "all"):
        if name in forecast.seconds:
            fixed = forecast.fixed.get(name, 0.0)
            there = clock(made.seconds[name]) if made is not None and name in made.seconds else ""
            mark = forecast.mark(name)
            notes = (f"{clock(fixed)} of it fixed" if fixed >= 1 else "", "see below" if mark else "")
            rows.append((f"time, {name}", mark + clock(forecast.seconds[name]), ", ".join(filter(None, notes)), there))
    return rows


def table(rows: list[tuple[str, str, str, str]]) -> str:
    """In columns; the last one only where it says anything."""
    columns = (
        ("", "forecast", "95 % within", "made") if any(row[3] for row in rows) else ("", "forecast", "95 % within")
    )
    cells = [columns, *(row[: len(columns)] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    lines = []
    for row in cells:
        first, *others = row
        padded = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *padded]).rstrip())
    return "\n".join(lines)


def markdown(rows: list[tuple[str, str, str, str]]) -> str:
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"| | forecast | 95 % within | made |\n|---|---|---|---|\n{body}"


def _estimate(estimate: Estimate, shown: Shown) -> tuple[str, str]:
    if estimate.low == estimate.high:
        return shown(estimate.value), ""
    return shown(estimate.value), f"{shown(estimate.low)} – {shown(estimate.high)}"


def _made(made: Figures | None, name: str, shown: Shown) -> str:
    return "" if made is None else shown(getattr(made.yields, name).value)


def _count(value: float) -> str:
    return f"{value:,.0f}"
