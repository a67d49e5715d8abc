"""What a schedule knows on disk: how far its times are dealt with, what goes on, and what has not been told yet."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.workflow.lock import Lock
from vlp_core.errors import UserError
from vlp_core.files import locked, write_text

FOLDER = "schedules"
KEPT_LOGS = 30
Ended = Literal["done", "failed", "skipped", "missed"]


@dataclass(frozen=True, kw_only=True)
class Firing:
    """A run of the pipeline that has begun and not ended."""

    planned: datetime
    started: datetime
    attempt: int = 1
    again: datetime | None = None
    """When the next attempt begins, after one that failed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a planned time."""

    planned: datetime
    ended: datetime
    state: Ended
    started: datetime | None = None
    why: str = ""
    """One line, where it is not done."""
    attempts: int = 0
    times: int = 1
    """How many planned times this stands for: those that were missed one after another are told together."""
    run: str = ""
    """Its run in MLflow."""


@dataclass(frozen=True, kw_only=True)
class State:
    """A schedule, as it stands in {root}/schedules/NAME.json."""

    cron: str = ""
    """Empty where it was only ever run by hand."""
    timezone: str = ""
    command: tuple[str, ...] = ()
    settled: datetime | None = None
    """All planned times up to this one are dealt with."""
    going: Firing | None = None
    waiting: datetime | None = None
    """A planned time that came while another one's run was going, and is run after it."""
    untold: tuple[Outcome, ...] = ()
    last: Outcome | None = None


class Desk:
    """The files of the schedule NAME. Two processes may write them: its scheduler, and a run by hand."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.file = root / FOLDER / f"{name}.json"
        self.logs = root / FOLDER / name

    @property
    def scheduler(self) -> Lock:
        """Held by the one scheduler of this name."""
        return Lock(self.file.with_name(f".{self.name}.scheduler"))

    @property
    def lane(self) -> Lock:
        """Held while a run of this name goes on, by whoever began it and by the pipeline itself."""
        return Lock(self.file.with_name(f".{self.name}.lane"))

    def state(self) -> State:
        """UserError where the file is none."""
        try:
            return _read(json.loads(self.file.read_text()))
        except FileNotFoundError:
            return State()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.file}: not the state of a schedule; remove it, and it begins anew") from error

    def update(self, change: Callable[[State], State]) -> State:
        """Change what stands there, whole or not at all."""
        with locked(self.file.with_name(f".{self.name}.lock")):
            state = change(self.state())
            write_text(self.file, json.dumps(asdict(state), indent=1, default=datetime.isoformat) + "\n")
            return state

    def set(self, **changes: Any) -> State:
        return self.update(lambda state: replace(state, **changes))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else schedules this name meanwhile. UserError where somebody does."""
        lock = self.scheduler
        if not lock.take():
            raise UserError(
                f"--name {self.name}: {lock.holder()} schedules it already; stop that one, or give another --name"
            )
        lock.sign()
        try:
            yield
        finally:
            lock.release()

    def log(self, planned: datetime) -> Path:
        """Where the run of a planned time prints to."""
        return self.logs / f"{planned:%Y%m%dT%H%M%SZ}.log"

    def keep_logs(self) -> None:
        """Remove the oldest logs beyond those that are kept."""
        for path in sorted(self.logs.glob("*.log"))[:-KEPT_LOGS]:
            path.unlink(missing_ok=True)


def names(root: Path) -> list[str]:
    """The schedules of a root."""
    return sorted(path.stem for path in (root / FOLDER).glob("[!.]*.json"))


def _read(said: dict[str, Any]) -> State:
    going, last = said["going"], said["last"]
    whole = {
        **said,
        "command": tuple(said["command"]),
        "untold": tuple(_typed(Outcome, item) for item in said["untold"]),
        "going": None if going is None else _typed(Firing, going),
        "last": None if last is None else _typed(Outcome, last),
    }
    state: State = _typed(State, whole)
    return state


def _typed(kind: type[Any], said: dict[str, Any]) -> Any:
    """A dataclass out of JSON, its times read."""
    found = {}
    for entry in fields(kind):
        value = said[entry.name]
        if isinstance(value, str) and "datetime" in str(entry.type):
            value = datetime.fromisoformat(value)
        found[entry.name] = value
    return kind(**found)
