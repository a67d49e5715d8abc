"""The runner: hands steps to Ray as their inputs get ready, publishes what they make, and tells MLflow and the user."""

import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.workflow import dag
from pipelines.workflow.lock import Lock
from pipelines.workflow.plan import Decision, Planner
from pipelines.workflow.progress import Display
from pipelines.workflow.record import Record, Results
from pipelines.workflow.step import Step, resolve
from pipelines.workflow.tracking import ENVIRONMENT, FAILED, FINISHED, KILLED, Tracking, first_line
from pipelines.workflow.worker import Assignment, Mailbox, Outcome, perform
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of_file

POLL_S = 0.25
LINKS = "_LINKS.json"
PRIVATE_OBJECT_STORE_BYTES = 512 * 2**20  # steps exchange folders, not objects


@dataclass(kw_only=True)
class Running:
    """A step at work: its task, who it is, and the lock that makes this driver its only maker."""

    decision: Decision
    lock: Lock
    reference: Any
    started: float
    previous: Path | None


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
    states: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    _running: dict[str, Running] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _mailbox: Any = None

    @property
    def results(self) -> Results:
        return self.planner.results

    def start(self, config: Mapping[str, Any], command: str) -> None:
        """Bring up Ray and MLflow side by side: each takes seconds."""
        with ThreadPoolExecutor(1) as pool:
            tracking = pool.submit(self.tracking.open, config, command)
            start_ray()
            tracking.result()
        import ray

        self._mailbox = ray.remote(Mailbox).options(num_cpus=0).remote()

    def run(self) -> list[Failure]:
        import ray

        waiting = list(self.steps)
        while waiting or self._running:
            waiting = [step for step in waiting if not self._advance(step)]
            if self._running:
                references = {running.reference: name for name, running in self._running.items()}
                done, _ = ray.wait(list(references), num_returns=1, timeout=POLL_S)
                self._listen()
                for reference in done:
                    self._finish(references[reference], reference)
            elif waiting:
                time.sleep(POLL_S)
        return self.failures

    def stop(self) -> None:
        """Cancel what runs; what it has written so far is kept for the next start."""
        import ray

        for name, running in self._running.items():
            ray.cancel(running.reference, force=True)
            self.tracking.failed(name, "interrupted", status=KILLED)
            running.lock.release()
        self._running.clear()

    def close(self, pipeline: str, status: str, headline: tuple[str, ...]) -> None:
        """The DAG, pictures, headline metrics and the map of the child runs on the parent run."""
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "dag.png"
            dag.draw(self.steps, self.states, self.notes, picture)
            records = self.planner.records
            self.tracking.close(
                status=status,
                dag=picture,
                pictures={
                    name: self.results.folder(name, record.fingerprint) / file
                    for name, record in records.items()
                    for file in record.pictures.values()
                },
                headline={
                    f"{name}/{key}": value
                    for name in headline
                    if name in records
                    for key, value in records[name].counts.items()
                },
                note=self._note(pipeline),
            )

    def _note(self, pipeline: str) -> str:
        """Markdown for the parent's page: what came of each step, with links to its run and to what it registered."""
        rows, links = [], []
        for step in self.steps:
            if step.name in self.tracking.children:
                state, note = self.states.get(step.name, "waiting"), self.notes.get(step.name, "")
                rows.append(f"| {self.tracking.link(step.name)} | {state} | {note} |")
            if step.name in self.planner.records:
                links += _links(self.planner.folder_of(step))
        lines = [f"**{pipeline}** in `{self.results.root}`", *links, "| step | | |\n|---|---|---|\n" + "\n".join(rows)]
        return "\n\n".join(lines)

    def _advance(self, step: Step) -> bool:
        """Move a waiting step on as far as it goes; True when it needs no more waiting for its turn."""
        if any(self.states.get(dependency.name) in ("failed", "waiting") for dependency in step.dependencies):
            self.states[step.name] = "waiting"
            return True
        if any(dependency.name not in self.states for dependency in step.dependencies):
            return False
        decision = self._decide(step)
        if decision.record is not None:
            self._reuse(step, decision.record)
            return True
        assert decision.identity is not None
        lock = self.results.lock(step.name, decision.identity.fingerprint)
        if not lock.take():
            if step.name not in self._told:
                self.display.line(f"… {step.name}: {lock.holder()} is making it; waiting for that")
                self._told.add(step.name)
            return False
        decision = self._decide(step)  # whoever held the lock may have made it
        if decision.record is not None:
            lock.release()
            self._reuse(step, decision.record)
            return True
        self._launch(step, decision, lock)
        return True

    def _decide(self, step: Step) -> Decision:
        decision = self.planner.decide(step)
        for warning in self.planner.warnings:
            self.display.line(f"! {warning}")
        self.planner.warnings.clear()
        return decision

    def _reuse(self, step: Step, record: Record) -> None:
        self.states[step.name] = "reused"
        self.notes[step.name] = describe(record.counts)
        self.tracking.reused(step.name, record, self.results.run_of(record).get("mlflow_run"))
        self.display.ended(step.name, "=", f"reused · {describe(record.counts)}")

    def _launch(self, step: Step, decision: Decision, lock: Lock) -> None:
        import ray

        identity = decision.identity
        assert identity is not None
        out = self.results.partial(step.name, identity.fingerprint)
        if step.name in self.planner.forced:
            shutil.rmtree(out, ignore_errors=True)
        inputs = {key: resolve(value, self.planner.folder_of) for key, value in step.inputs.items()}
        previous = None
        if step.accepts("previous") and identity.extends and step.name not in self.planner.forced:
            previous = self.results.extendable(step, identity)
            inputs["previous"] = previous
        sources = [
            self.planner.records[found.name] for found in {found.name: found for found in step.dependencies}.values()
        ]
        run = self.tracking.started(
            step.name,
            fingerprint=identity.fingerprint,
            inputs={**identity.inputs, **identity.extends},
            sources=sources,
        )
        environment = {
            **ENVIRONMENT,
            "MLFLOW_TRACKING_URI": self.tracking.uri,
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
            reference=task.remote(assignment, self._mailbox),
            started=time.time(),
            previous=previous,
        )

    def _listen(self) -> None:
        import ray

        events = ray.get(self._mailbox.drain.remote())
        for event in events:
            if event.kind == "progress":
                self.display.progress(event.step, event.body)
        self.tracking.events([event for event in events if event.kind != "progress"])

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
        finally:
            running.lock.release()

    def _fail(self, name: str, outcome: Outcome) -> None:
        why = outcome.user_error or outcome.failure or "unknown"
        self.states[name] = "failed"
        self.notes[name] = why.strip().splitlines()[-1]
        self.failures.append(Failure(step=name, why=why.strip(), by_user=outcome.user_error is not None))
        self.tracking.failed(name, why)
        self.display.ended(name, "✗", why.strip().splitlines()[-1])

    def _publish(self, running: Running, outcome: Outcome) -> None:
        step, identity = running.decision.step, running.decision.identity
        assert identity is not None and outcome.summary is not None and outcome.inventory is not None
        record = self.results.publish(
            step,
            identity,
            summary=outcome.summary,
            inventory=outcome.inventory,
            continued_from=running.previous.name if running.previous else None,
            run={
                "started": running.started,
                "finished": time.time(),
                "host": platform.node(),
                "code": code_revision(step.source.parent),
                "source_sha256": sha256_of_file(step.source),
                "mlflow_run": self.tracking.children.get(step.name),
            },
        )
        self.planner.records[step.name] = record
        self.planner.forced -= {step.name}
        self.states[step.name] = "made"
        self.notes[step.name] = describe(record.counts)
        self.tracking.made(step.name, record, self.results.folder(record.step, record.fingerprint))
        self.display.ended(step.name, "✓", describe(record.counts))


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start a private one that ends with this process."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import ray

    logs = os.environ.get("VLP_RAY_LOGS") == "1"
    common: dict[str, Any] = {"log_to_driver": logs, "logging_level": "INFO" if logs else "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            _knock(address)
            ray.init(address=address, **common)
        except Exception as error:
            raise UserError(
                f"RAY_ADDRESS {address}: no Ray cluster lets us in there ({first_line(error)}); start one with "
                "`ray start --head`, or unset RAY_ADDRESS for a private one"
            ) from error
    else:
        ray.init(address="local", include_dashboard=False, object_store_memory=PRIVATE_OBJECT_STORE_BYTES, **common)


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def describe(counts: Mapping[str, float]) -> str:
    """The first counts of a step that are not zero (nor what chance gives), as its line shows them."""
    shown = {key.replace("/", " "): value for key, value in counts.items() if value and not key.endswith("_chance")}
    texts = [f"{value:,.4g} {key}" if value < 1e4 else f"{value:,.0f} {key}" for key, value in shown.items()]
    return " · ".join(texts[:4])


def code_revision(folder: Path) -> str | None:
    """The git revision of the code, with `+` where it was changed since; None outside a checkout."""
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude", "*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _links(folder: Path) -> list[str]:
    """Links into the MLflow UI that a step left in `_LINKS.json` (text -> address), as Markdown."""
    try:
        found = json.loads((folder / LINKS).read_text())
    except (OSError, ValueError):
        return []
    return [f"[{text}]({address})" for text, address in found.items()]


STATUS = {True: FINISHED, False: FAILED}
