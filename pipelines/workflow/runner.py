"""The runner: hands steps to Ray as their inputs get ready, publishes what they make, and tells MLflow and the user."""

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.workflow.cluster import start_ray
from pipelines.workflow.differences import differences
from pipelines.workflow.environment import prepare_environment, stage_environment
from pipelines.workflow.lock import Lock
from pipelines.workflow.page import Page, describe
from pipelines.workflow.plan import Decision, Planner
from pipelines.workflow.progress import Display
from pipelines.workflow.record import BEGUN, CorruptRecordError, Record
from pipelines.workflow.results import Results
from pipelines.workflow.source import sources_of
from pipelines.workflow.step import Identity, Step, identify, resolve
from pipelines.workflow.tracking import KILLED, Tracking
from pipelines.workflow.worker import Assignment, Mailbox, Outcome, perform
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import write_text

POLL_S = 0.25
STOP_S = 10.0  # for cancelled tasks to end
LOOK_AGAIN_S = 2.0  # at a result that another driver makes
CONTINUED = "_CONTINUED.json"


@dataclass(kw_only=True)
class Running:
    """A step at work: its task, who it is, and the lock that makes this driver its only maker."""

    decision: Decision
    lock: Lock
    inputs: list[Lock]
    """Shared locks on the results it reads: nobody takes these back or replaces them meanwhile."""
    reference: Any
    made_by: dict[str, Any]
    """When, where and by which code: taken as it starts, for files may be edited while it runs."""

    def release(self) -> None:
        for lock in (self.lock, *self.inputs):
            lock.release()


@dataclass(kw_only=True)
class Failure:
    step: str
    why: str
    by_user: bool
    """Whether the cause is the user's to mend (one line) and not a fault of the program (a traceback)."""


@dataclass
class Runner:
    """One pass over a DAG. `run` returns the failures, the cause last; an empty list is success."""

    steps: list[Step]
    planner: Planner
    tracking: Tracking
    display: Display
    interrupted: Callable[[], bool] = lambda: False
    """Asked between two moves, so that no step is left half launched or half published."""
    states: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    _running: dict[str, Running] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _look_again: dict[str, float] = field(default_factory=dict)
    """Steps that another driver has, and when to ask for them again."""
    _mailbox: Any = None
    _lost: bool = False

    @property
    def results(self) -> Results:
        return self.planner.results

    def start(self, config: Mapping[str, Any], command: str) -> None:
        """Bring up Ray and MLflow side by side: each takes seconds."""
        prepare_environment()
        with ThreadPoolExecutor(1) as pool:
            tracking = pool.submit(self.tracking.open, config, command)
            start_ray()
            tracking.result()
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox = ray.remote(Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
        self._mailbox = mailbox.remote()

    def run(self) -> list[Failure]:
        import ray

        waiting = list(self.steps)
        while waiting or self._running:
            if self.interrupted():
                raise KeyboardInterrupt
            waiting = [step for step in waiting if not self._advance(step)]
            if self._running:
                references = {running.reference: name for name, running in self._running.items()}
                done, _ = ray.wait(list(references), num_returns=1, timeout=POLL_S)
                self._listen()
                for reference in done:
                    self._finish(references[reference], reference)
            elif waiting:
                time.sleep(POLL_S)
        for line in self.planner.tell_of_code():  # of all steps at once, though each was decided in its turn
            self.display.line(f"! {line}")
        return self.failures

    def stop(self) -> None:
        """Cancel what runs; what it has written so far is kept for the next start."""
        import ray

        references = [running.reference for running in self._running.values()]
        for reference in references:
            ray.cancel(reference, force=True)
        if references:
            ray.wait(references, num_returns=len(references), timeout=STOP_S)  # then nobody writes there any more
        for name, running in self._running.items():
            self.tracking.failed(name, "interrupted", status=KILLED)
            running.release()
        self._running.clear()

    def close(self, pipeline: str, status: str, headline: tuple[str, ...]) -> None:
        """The DAG, pictures, headline metrics and the map of the child runs on the parent run, which ends."""
        page = Page(self.steps, self.states, self.notes, self.planner.records, self.results)
        with tempfile.TemporaryDirectory() as folder:
            try:
                pictures = page.pictures(Path(folder))
            except Exception as error:  # another run may have taken a result back: the run ends all the same
                self.display.line(f"! the pictures of the run's page could not be made ({first_line(error)})")
                pictures = []
            note = page.note(pipeline, pictures, self.tracking)
            self.tracking.close(
                status=status, pictures=pictures, headline=page.headline(headline), note=note, tags=page.tags()
            )

    def _advance(self, step: Step) -> bool:
        """Move a waiting step on as far as it goes; True when it needs no more waiting for its turn."""
        if any(self.states.get(dependency.name) in ("failed", "waiting") for dependency in step.dependencies):
            self.states[step.name] = "waiting"
            return True
        if any(dependency.name not in self.states for dependency in step.dependencies):
            return False
        if time.monotonic() < self._look_again.get(step.name, 0.0):
            return False
        try:
            return self._reuse_or_launch(step)
        except UserError as error:  # of this step alone, such as a list that is gone by now
            self._fail(step.name, Outcome(user_error=str(error)))
            return True

    def _reuse_or_launch(self, step: Step) -> bool:
        decision = self._decide(step)
        if decision.record is not None:
            self._reuse(step, decision.record)
            return True
        assert decision.identity is not None
        fingerprint = decision.identity.fingerprint
        locks = [self.results.lock(step.name, fingerprint)]
        if not locks[0].take():
            self._wait(step, f"{locks[0].holder()} makes or reads this result; waiting for that")
            return False
        try:
            locks[0].sign()
            self.results.mend(step.name, fingerprint)
            decision = self._decide(step)  # whoever held the lock may have made it
            if decision.record is not None:
                self._reuse(step, decision.record)
                return True
            for record in self._inputs_of(step):
                lock = self.results.lock(record.step, record.fingerprint)
                if not lock.take(shared=True):
                    self._wait(step, f"{lock.holder()} makes or takes back {record.step}; waiting for that")
                    return False
                locks.append(lock)
                self._check_unchanged(record)
            previous = self._previous(step, decision.identity)
            if previous is not None:
                lock = self.results.lock(step.name, previous.name)
                if lock.take(shared=True):
                    locks.append(lock)
                else:  # somebody makes it again: this one starts from the beginning
                    previous = None
            self._launch(step, decision, locks[0], locks[1:], previous)
            locks = []  # they are the running step's now
            return True
        finally:
            for lock in locks:
                lock.release()

    def _previous(self, step: Step, identity: Identity | None) -> Path | None:
        """A finished result that this step can carry on, for a function that asks for one."""
        if identity is None or not identity.extends or not step.accepts("previous"):
            return None
        return None if step.name in self.planner.forced else self.results.extendable(step, identity)

    def _wait(self, step: Step, text: str) -> None:
        self._look_again[step.name] = time.monotonic() + LOOK_AGAIN_S
        if step.name not in self._told:
            self.display.line(f"… {step.name}: {text}")
            self._told.add(step.name)

    def _inputs_of(self, step: Step) -> list[Record]:
        return [self.planner.records[name] for name in dict.fromkeys(found.name for found in step.dependencies)]

    def _check_unchanged(self, record: Record) -> None:
        """Between the plan and the lock another run may have taken an input back, or made it again otherwise."""
        try:
            found = self.results.read(record.step, record.fingerprint)
        except CorruptRecordError:
            found = None
        if found is None or found.digest != record.digest:
            folder = self.results.folder(record.step, record.fingerprint)
            raise UserError(f"{folder}: changed since this run began; start it again")

    def _decide(self, step: Step) -> Decision:
        decision = self.planner.decide(step)
        for line in self.planner.tell():
            self.display.line(f"! {line}")
        return decision

    def _reuse(self, step: Step, record: Record) -> None:
        self.states[step.name] = "reused"
        self.notes[step.name] = describe(record.counts)
        self.tracking.reused(step.name, record, self.results.run_of(record).get("mlflow_run"))
        self.display.ended(step.name, "=", f"reused · {describe(record.counts)}")

    def _launch(
        self, step: Step, decision: Decision, lock: Lock, input_locks: list[Lock], previous: Path | None
    ) -> None:
        import ray

        identity = decision.identity
        assert identity is not None
        out = self.results.partial(step.name, identity.fingerprint)
        if step.name in self.planner.forced:
            shutil.rmtree(out, ignore_errors=True)
        if step.resumable:
            out.mkdir(parents=True, exist_ok=True)
            made_of = [f"{record.step}/{record.fingerprint}" for record in self._inputs_of(step)]
            stands_on = {"step": step.name, "inputs": identity.inputs, "extends": identity.extends, "made_of": made_of}
            write_text(out / BEGUN, json.dumps(stands_on) + "\n")
        inputs = {key: resolve(value, self.planner.folder_of) for key, value in step.inputs.items()}
        if step.accepts("previous"):
            inputs["previous"] = previous
        run = self.tracking.started(
            step.name,
            fingerprint=identity.fingerprint,
            inputs={**identity.inputs, **identity.extends},
            sources=self._inputs_of(step),
            needed=step.accepts("registry"),
        )
        environment = {
            **stage_environment(),
            "MLFLOW_TRACKING_URI": self.tracking.uri,
            "MLFLOW_REGISTRY_URI": os.environ.get("MLFLOW_REGISTRY_URI") or self.tracking.uri,  # and no worker's own
            "MLFLOW_EXPERIMENT_ID": self.tracking.experiment,
            "MLFLOW_RUN_ID": run,
        }
        assignment = Assignment(
            step=step.name,
            module=step.run.__module__,
            function=step.run.__name__,
            inputs=inputs,
            out=out,
            fresh=not step.resumable,
            environment=environment,
        )
        task = ray.remote(perform).options(num_cpus=0, max_retries=2, name=step.name)
        self.display.started(step.name, decision.reason)
        self._running[step.name] = Running(
            decision=decision,
            lock=lock,
            inputs=input_locks,
            made_by={
                "started": time.time(),
                "host": platform.node(),
                "code": code_revision(step.source.parent),
                "sources": sources_of(step.source),
                "inputs": [f"{record.step}/{record.fingerprint}" for record in self._inputs_of(step)],
            },
            reference=task.remote(assignment, self._mailbox),
        )

    def _listen(self) -> None:
        import ray

        try:
            events = ray.get(self._mailbox.drain.remote())
        except ray.exceptions.RayError as error:  # it comes back, without what it held
            self._mailbox_lost(first_line(error))
            return
        for event in events:
            if event.kind == "progress":
                self.display.progress(event.step, event.body)
            elif event.kind == "warning":
                self.display.line(f"! {event.step}: {event.body['text']}")
        self.tracking.events([event for event in events if event.kind not in ("progress", "warning")])

    def _mailbox_lost(self, why: str) -> None:
        if not self._lost:
            self.display.line(f"! reports of running steps were lost ({why}); their results are not concerned")
            self._lost = True

    def _finish(self, name: str, reference: Any) -> None:
        import ray

        running = self._running.pop(name)
        self._listen()
        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            outcome = Outcome(failure=f"its worker was lost: {error}")
        try:
            if outcome.summary is None:
                self._fail(name, outcome)
            else:
                self._publish(running, outcome)
        except UserError as error:
            self._fail(name, Outcome(user_error=str(error)))
        finally:
            running.release()

    def _check_outside_files(self, step: Step, identity: Identity) -> None:
        """A list that was written to while it was read is not the one whose digest the fingerprint holds."""
        now = identify(step, self.planner.reference, self.planner.digests.of)
        changed = differences({**identity.inputs, **identity.extends}, {**now.inputs, **now.extends})
        if changed:
            raise UserError(f"changed while it was read: {'; '.join(changed[:3])}; start again")

    def _fail(self, name: str, outcome: Outcome) -> None:
        why = public_text(outcome.user_error or outcome.failure or "unknown")
        self.states[name] = "failed"
        self.notes[name] = why.strip().splitlines()[-1]
        self.failures.append(Failure(step=name, why=why.strip(), by_user=outcome.user_error is not None))
        self.tracking.failed(name, why)
        self.display.ended(name, "✗", why.strip().splitlines()[-1])

    def _publish(self, running: Running, outcome: Outcome) -> None:
        step, identity = running.decision.step, running.decision.identity
        assert identity is not None and outcome.summary is not None and outcome.inventory is not None
        self._check_outside_files(step, identity)
        record = self.results.publish(
            step,
            identity,
            summary=outcome.summary,
            inventory=outcome.inventory,
            continued_from=_continued_from(self.results.partial(step.name, identity.fingerprint)),
            run={
                **running.made_by,
                "finished": time.time(),
                "compiled_s": outcome.compiled_s,
                "mlflow_run": self.tracking.children.get(step.name),
            },
        )
        self.planner.records[step.name] = record
        self.planner.forced -= {step.name}
        self.states[step.name] = "made"
        self.notes[step.name] = describe(record.counts)
        self.tracking.made(step.name, record, self.results.folder(record.step, record.fingerprint))
        self.display.ended(step.name, "✓", describe(record.counts))


def _continued_from(work: Path) -> str | None:
    """The result that the work was carried on from, as its stage says; None for one that began anew."""
    try:
        return json.loads((work / CONTINUED).read_text())["continued_from"]
    except FileNotFoundError:
        return None


def code_revision(folder: Path) -> str | None:
    """The git revision of the code, with `+` where it was changed since; None outside a checkout."""
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude", "*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
