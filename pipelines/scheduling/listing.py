"""The schedules of a root, a line each: when they are due, what goes on, and what came of the last time."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pipelines.scheduling.cron import Cron
from pipelines.scheduling.desk import Desk, State, names
from pipelines.workflow.lock import Lock


def lines(root: Path, now: datetime) -> Iterator[str]:
    for name in names(root):
        desk = Desk(root, name)
        state, held = _looked_at(desk)
        said = [f"{state.cron!r} {state.timezone}" if state.cron else "by hand"]
        if state.cron:
            cron = Cron(state.cron, state.timezone)
            alive = _is_held(desk.scheduler)
            said.append(f"next {cron.shown(cron.next(now))}" if alive else "its scheduler does not run")
        if state.going is not None:
            said.append(_going(state, held=held))
        if state.last is not None:
            why = f" ({state.last.why})" if state.last.why else ""
            said.append(f"last {_shown(state.last.planned)} {state.last.state}{why}")
        yield f"{name}: {' · '.join(said)}"


def _looked_at(desk: Desk) -> tuple[State, bool]:
    """Its state, and whether somebody works at it then: a run may begin or end between two looks."""
    state = desk.state()
    while True:
        held, later = _is_held(desk.lane), desk.state()
        if later == state:
            return state, held
        state = later


def _going(state: State, *, held: bool) -> str:
    """A run that has not ended; nobody works at it, or waits for its retry, where its lane is not held."""
    going = state.going
    assert going is not None
    if held and going.again is None:
        return f"going since {_shown(going.started)}"
    run = f"the run of {_shown(going.planned)}"
    became = "was cut short" if going.again is None else f"failed and waits for its retry at {_shown(going.again)}"
    return f"{run} {became}" if held else f"{run} {became}; the next scheduler, or --once, of this name goes on with it"


def _is_held(lock: Lock) -> bool:
    return lock.path.exists() and not lock.is_free()


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
