"""MLflow: a parent run a pipeline, a child run a step. The driver is the only one who writes here, so that a store on
SQLite is opened and migrated once.

The folder of results is the truth and MLflow its memory: a store that fails while steps run is written to later, in
order, and never holds them up for long.
"""

import io
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.workflow import data_sets
from pipelines.workflow.environment import environment_kept, prepare_environment
from pipelines.workflow.later import Later
from pipelines.workflow.lock import Lock
from pipelines.workflow.open_runs import hold, left_in, said_by
from pipelines.workflow.record import Record
from pipelines.workflow.worker import Event
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import full_disk, locked, no_space
from vlp_core.metric_names import metric_name

FAILED, FINISHED, KILLED = "FAILED", "FINISHED", "KILLED"

LAST_S = 15.0  # for what still waits when the run ends
INVOCATION = "vlp.invocation"
BEGUN_BY, BEGUN_TAG = "VLP_BEGUN_BY", "vlp.begun_by"
"""The variable in which a schedule says what it begins a pipeline for, and the tag of its run that keeps it."""


def store_of(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store in the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


@dataclass
class Tracking:
    """One pipeline run in MLflow. Raises UserError where the store cannot be opened; later trouble is told once."""

    root: Path
    pipeline: str
    run_name: str = ""
    """What the parent run is called, where it is not the pipeline's name, which is the experiment's."""
    uri: str = ""
    experiment: str = ""
    parent: str = ""
    children: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None
    _client: Any = None
    _lock: Lock | None = None
    _curves: set[str] = field(default_factory=set)
    """Metrics of the parent that were reported while steps ran."""

    def __post_init__(self) -> None:
        self._later = Later(self._say)

    @property
    def place(self) -> str:
        """The store's address as it may be shown and stored: without credentials."""
        return public_text(self.uri or store_of(self.root))

    @property
    def shown_by(self) -> str:
        """How to look at it: a server shows itself, and `make ui` has to be told of another root than its own."""
        if self.place.startswith("http"):
            return self.place
        own = Path(os.environ.get("VLP_ROOT") or "runs").absolute()
        return "make ui" if self.root == own else f"make ui VLP_ROOT={self.root}"

    def open(self, config: Mapping[str, Any], command: str) -> None:
        """Open the store, close what a kill left open, and start the parent run."""
        self._open_store()
        token = uuid.uuid4().hex
        try:
            self._close_left_open()
            self._lock = hold(self.root, token, store=self.place, experiment=self.experiment)
            tags = {
                INVOCATION: token,
                "vlp.root": str(self.root),
                "vlp.command": public_text(command),
                "mlflow.source.name": self.pipeline,
            }
            if BEGUN_BY in os.environ:
                tags[BEGUN_TAG] = os.environ[BEGUN_BY]
            run = self._client.create_run(self.experiment, run_name=self.run_name or self.pipeline, tags=tags)
            self.parent = run.info.run_id
            self._params(self.parent, flatten(config))
            text = json.dumps(config, indent=1, sort_keys=True, default=str)
            self._client.log_text(self.parent, public_text(text), "config.json")
        except UserError:
            raise
        except Exception as error:
            self._check_disk(error)
            raise UserError(
                f"{self.place}: MLflow takes no run of experiment {self.pipeline!r} ({first_line(error)}); restore the "
                "experiment if it was deleted, or check that the store can be written"
            ) from error

    def close_left_open(self) -> None:
        """End the runs that a kill left open, where there are some; otherwise the store is not even opened.

        A store that does not answer is only told of: its runs wait for a start that finds it.
        """
        if left_in(self.root, self.place):
            prepare_environment()
            try:
                self._open_store()
                self._close_left_open()
            except UserError as error:
                self._say(error)

    def _open_store(self) -> None:
        self.uri = store_of(self.root)
        with locked(self.root / ".mlflow.lock"):  # two first runs would both make the tables
            self._client = self._connect()
            try:
                self.experiment = self._experiment_id()
            except Exception as error:
                self._check_disk(error)
                raise UserError(
                    f"{self.place}: MLflow makes no experiment {self.pipeline!r} ({first_line(error)}); "
                    "check that the store can be written"
                ) from error

    def _connect(self) -> Any:
        try:
            import mlflow

            logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of its migrations
            logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # and prints errors that are told here
            with environment_kept("MLFLOW_TRACKING_URI"):
                mlflow.set_tracking_uri(self.uri)
            client = mlflow.MlflowClient(self.uri)
            client.search_experiments(max_results=1)
            return client
        except Exception as error:
            self._check_disk(error)
            raise UserError(
                f"{self.place}: this MLflow store does not open ({first_line(error)}); start the server, "
                f"or unset MLFLOW_TRACKING_URI to use {self.root / 'mlflow.db'}"
            ) from error

    def _check_disk(self, error: Exception) -> None:
        # SQLite has words for it and no number.
        if "disk is full" in str(error) or (isinstance(error, OSError) and full_disk(error)):
            raise UserError(no_space(self.root)) from error

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.pipeline)
        if found is None:
            location = (self.root / "mlartifacts").as_uri() if self.uri.startswith("sqlite:") else None
            kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI then opens on runs and models
            try:
                return str(self._client.create_experiment(self.pipeline, artifact_location=location, tags=kind))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self.pipeline)
        return str(found.experiment_id)

    def _close_left_open(self) -> None:
        """End the runs of this root and store whose driver is gone: its lock is free."""
        for path in left_in(self.root, self.place):
            lock = Lock(path)
            if not lock.take():
                continue
            try:
                self._end_all(path.name, said_by(path)["experiment"])
                path.unlink(missing_ok=True)
            except Exception as error:  # the file stays for the next start
                self._say(error)
            finally:
                lock.release()

    def _end_all(self, token: str, experiment: str) -> None:
        """End whatever of an invocation still runs in the eyes of MLflow."""
        running = f"tags.`{INVOCATION}` = '{token}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([experiment], running):
            self._client.set_terminated(run.info.run_id, KILLED)

    def started(
        self,
        step: str,
        *,
        fingerprint: str,
        inputs: Mapping[str, Any],
        sources: Iterable[Record],
        needed: bool = False,
    ) -> str:
        """Open a step's child run; its data sets are the records it stands on.

        Returns the run's id, or "" where the store is away; for a step that has `needed` of it, it is tried for longer.
        """
        assert self._lock is not None
        tags = {
            INVOCATION: self._lock.path.name,
            "mlflow.parentRunId": self.parent,
            "vlp.step": step,
            "vlp.fingerprint": fingerprint,
        }
        when, sources = int(time.time() * 1000), list(sources)

        def begin() -> None:
            run = self._client.create_run(self.experiment, run_name=step, tags=tags, start_time=when)
            self.children[step] = run.info.run_id

        self._later.do(begin)
        self._of(step, lambda run: self._params(run, flatten(inputs)))
        self._data_sets(step, data_sets.of_records(self.root, sources))
        if needed:
            self._later.finish(LAST_S)
        return self.children.get(step, "")

    def reused(self, step: str, record: Record, made_by: str | None) -> None:
        """A finished child run that points at the run which made the result."""
        self.started(step, fingerprint=record.fingerprint, inputs={**record.inputs, **record.extends}, sources=())

        def point(run: str) -> None:
            self._client.set_tag(run, "vlp.reused", "true")
            if made_by:
                link = f"#/experiments/{self.experiment}/runs/{made_by}"
                self._client.set_tag(run, "vlp.made_by", made_by)
                self._client.set_tag(run, "mlflow.note.content", f"Reused: [made by this run]({link}).")

        self._of(step, point)
        self._of(step, lambda run: self._counts(run, record))
        self._end(step, FINISHED)

    def events(self, events: Iterable[Event]) -> None:
        """Write what steps reported: all points of a step in one call."""
        from mlflow.entities import Metric

        points: dict[str | None, list[Metric]] = {}
        for event in events:
            if event.kind == "metrics":
                at, when = event.body["at"], int(event.time * 1000)
                for key, value in event.body["values"].items():
                    points.setdefault(event.step, []).append(Metric(metric_name(key), float(value), when, at))
                    whole = metric_name(f"{event.step}/{key}")  # on the parent, where runs are compared
                    points.setdefault(None, []).append(Metric(whole, float(value), when, at))
                    self._curves.add(whole)
            else:
                self._of(event.step, partial(self._write, event=event))
        for step, metrics in points.items():
            for start in range(0, len(metrics), 1000):
                part = metrics[start : start + 1000]
                self._of(step, partial(self._client.log_batch, metrics=part))
        self._later.make()

    def _write(self, run: str, event: Event) -> None:
        if event.kind == "picture":
            from PIL import Image

            image = Image.open(io.BytesIO(event.body["png"]))
            self._client.log_image(run, image, key=event.body["name"], step=event.body["at"])
        elif event.kind == "table":
            self._client.log_table(run, event.body["columns"], f"{event.body['name']}.json")

    def made(self, step: str, record: Record, folder: Path) -> None:
        """Counts and pictures of a result on its child run, which ends."""

        def show(run: str) -> None:
            for picture in record.pictures.values():
                self._client.log_artifact(run, str(folder / picture))
            self._client.set_tag(run, "vlp.record", record.digest)
            self._client.set_tag(run, "vlp.folder", str(folder))

        self._of(step, lambda run: self._counts(run, record))
        self._of(step, show)
        for run in (step, None):  # on the parent too, where runs are compared
            self._data_sets(run, data_sets.left_in(folder))
        self._end(step, FINISHED)

    def failed(self, step: str, why: str, *, status: str = FAILED) -> None:
        def tell(run: str) -> None:
            self._client.set_tag(run, "vlp.error", why.strip().splitlines()[-1][:500])
            self._client.log_text(run, why, "error.txt")

        self._of(step, tell)
        self._end(step, status)

    def close(
        self,
        *,
        status: str,
        pictures: Iterable[Path],
        headline: Mapping[str, float],
        note: str,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Pictures, the headline metrics, the map of child runs and `tags` on the parent, which ends.

        A headline metric that has a curve here is left to it: a last point at step 0 would be drawn into the curve.
        """
        numbers = {key: value for key, value in headline.items() if metric_name(key) not in self._curves}
        for path in pictures:
            self._of(None, partial(self._client.log_artifact, local_path=str(path)))
        self._of(None, lambda run: self._metrics(run, numbers, 0))
        for key, value in {**tags, "mlflow.note.content": note}.items():
            self._of(None, partial(self._client.set_tag, key=key, value=value))
        self._end(None, status)
        if self._lock is None:
            return
        token = self._lock.path.name  # a run may be open still: made twice by a slow server, or of a step cut short
        self._later.do(lambda: self._end_all(token, self.experiment))
        self._later.finish(LAST_S)
        lost = self._later.waiting + self._later.refused
        if lost:
            print(f"warning: MLflow at {self.place} did not take {lost} writes; the results are kept", file=sys.stderr)
        if not self._later.waiting:
            self._lock.path.unlink(missing_ok=True)
        self._lock.release()

    def _end(self, step: str | None, status: str) -> None:
        when = int(time.time() * 1000)
        self._of(step, lambda run: self._client.set_terminated(run, status, when))

    def _of(self, step: str | None, call: Callable[[str], Any]) -> None:
        """A call about a step's run, or about the parent's; a step whose run could not be made has nothing to tell."""

        def later() -> None:
            run = self.parent if step is None else self.children.get(step)
            if run:
                call(run)

        self._later.do(later)

    def _counts(self, run: str, record: Record) -> None:
        self._metrics(run, {f"count/{key}": value for key, value in record.counts.items()}, 0)

    def _data_sets(self, step: str | None, found: list[Any]) -> None:
        if found:
            self._of(step, lambda run: self._client.log_inputs(run, datasets=found))

    def link(self, step: str) -> str:
        return f"[{step}](#/experiments/{self.experiment}/runs/{self.children[step]})"

    def link_to_artifact(self, text: str, name: str) -> str:
        return f"[{text}](#/experiments/{self.experiment}/runs/{self.parent}/artifacts/{name})"

    def _params(self, run: str, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, public_text(str(value))[:500]) for key, value in values.items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(run, params=params[start : start + 100])

    def _metrics(self, run: str, values: Mapping[str, float], at: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            run, metrics=[Metric(metric_name(key), float(value), now, at) for key, value in values.items()]
        )

    def _say(self, error: Exception) -> None:
        """Trouble with the store is told once and does not stop the work, whose results are in the root."""
        if self.trouble is None:
            self.trouble = first_line(error)
            print(
                f"warning: MLflow at {self.place} fails ({self.trouble}); trying again, and the results are kept",
                file=sys.stderr,
            )


def flatten(value: Any, where: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys, as parameters are compared in the UI; empty values are left out."""
    if isinstance(value, Mapping):
        if "content" in value:
            return {where: f"{value['step']} {value['content'][:12]}"}
        flat: dict[str, Any] = {}
        for key, item in value.items():
            if key != "settings":
                flat.update(flatten(item, f"{where}.{key}" if where else str(key)))
        return flat
    if value is None or value in ([], ()):
        return {}
    return {where: value}
