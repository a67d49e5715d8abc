"""What runs inside Ray: a step's function in a worker process, and the mailbox through which it reports."""

import importlib
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.workflow.lock import Lock
from pipelines.workflow.record import Inventory, take_inventory
from vlp_core.errors import UserError
from vlp_core.files import full_disk, no_space
from vlp_core.tracker import Summary

PREDECESSOR_S = 60.0  # how long an earlier attempt may take to end


@dataclass(frozen=True, kw_only=True)
class Event:
    """One report of a step: kind is `metrics`, `picture`, `table`, `progress` or `warning`."""

    step: str
    kind: str
    body: dict[str, Any]
    time: float = field(default_factory=time.time)


class Mailbox:
    """A Ray actor that holds reports until the driver, the only one who writes to MLflow, fetches them."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        self._events.append(event)

    def drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events


class MailTracker:
    """A `Tracker` whose reports go to the mailbox. Picklable; a lost mailbox never fails the stage."""

    def __init__(self, step: str, mailbox: Any) -> None:
        self._step = step
        self._mailbox = mailbox

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        self._send("metrics", {"values": dict(values), "at": step}, wait=True)

    def picture(self, name: str, png: bytes, *, step: int = 0) -> None:
        self._send("picture", {"name": name, "png": png, "at": step}, wait=True)

    def table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        self._send("table", {"name": name, "columns": dict(columns)}, wait=True)

    def progress(self, done: int, total: int | None, *, failed: int = 0, unit: str = "rows") -> None:
        self._send("progress", {"done": done, "total": total, "failed": failed, "unit": unit}, wait=False)

    def warn(self, text: str) -> None:
        self._send("warning", {"text": text}, wait=False)

    def _send(self, kind: str, body: dict[str, Any], *, wait: bool) -> None:
        import ray

        try:
            reference = self._mailbox.put.remote(Event(step=self._step, kind=kind, body=body))
            if wait:
                ray.get(reference)
        except ray.exceptions.RayError:
            return


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A step made concrete: function by name, inputs as folders and values, and where to write."""

    step: str
    module: str
    function: str
    inputs: dict[str, Any]
    out: Path
    fresh: bool
    """Whether `out` is emptied first: the function cannot go on in a half-filled folder."""
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended; `user_error` is one line for the user, `failure` a traceback."""

    summary: Summary | None = None
    inventory: Inventory | None = None
    user_error: str | None = None
    failure: str | None = None
    compiled_s: float = 0.0
    """Of the time that it took, seconds in which loops were compiled whose machine code is kept from then on."""


def perform(assignment: Assignment, mailbox: Any) -> Outcome:
    """Run a step's function here. Every exception becomes an Outcome, so that Ray repeats only what lost its worker."""
    os.environ.update(assignment.environment)
    tracker = MailTracker(assignment.step, mailbox)
    compiled = _compiled()  # by steps before this one, in the same process
    try:
        with alone(assignment.out):
            if assignment.fresh:
                shutil.rmtree(assignment.out, ignore_errors=True)
            assignment.out.mkdir(parents=True, exist_ok=True)
            function = getattr(importlib.import_module(assignment.module), assignment.function)
            summary = function(**assignment.inputs, out=assignment.out, tracker=tracker)
            inventory = take_inventory(assignment.out)
            return Outcome(summary=summary, inventory=inventory, compiled_s=_compiled() - compiled)
    except UserError as error:
        return Outcome(user_error=str(error))
    except OSError as error:
        if full_disk(error):
            return Outcome(user_error=no_space(assignment.out))
        return Outcome(failure=traceback.format_exc())
    except Exception:
        return Outcome(failure=traceback.format_exc())


def _compiled() -> float:
    loaded = sys.modules.get("vlp_core.compiled")
    return loaded.STOPWATCH.seconds if loaded else 0.0


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Wait for an attempt that outlived its driver, or that Ray gave up, to be gone: two must not write one folder."""
    attempt = Lock(out.with_name(f".{out.name}.attempt"))
    give_up = time.monotonic() + PREDECESSOR_S
    while not attempt.take():
        if time.monotonic() > give_up:
            raise UserError(
                f"{out}: an earlier attempt, {attempt.holder()}, still writes there; end it and start again"
            )
        time.sleep(0.25)
    attempt.sign()
    try:
        yield
    finally:
        attempt.release()
