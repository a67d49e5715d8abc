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
from typing import Any

from pipelines.workflow.later import Later
from pipelines.workflow.lock import Lock
from pipelines.workflow.open_runs import file_of, is_free, run_files, said_by
from pipelines.workflow.record import Record
from pipelines.workflow.results import Results
from pipelines.workflow.worker import Event
from vlp_core.errors import UserError, first_line
from vlp_core.files import locked, no_space
from vlp_core.metric_names import DATASET_DIGEST_CHARS, metric_name
from vlp_core.uris import public_uri

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
# The driver writes little at a time and must not wait for a server that is gone; a stage uploads models.
DRIVER_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
STAGE_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}
FAILED, FINISHED, KILLED = "FAILED", "FINISHED", "KILLED"

LAST_S = 15.0  # for what still waits when the run ends
INVOCATION = "vlp.invocation"


def store_of(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store in the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def stage_environment() -> dict[str, str]:
    """What a stage that talks to MLflow runs under: the user's own limits where there are some."""
    return {**ENVIRONMENT, **{key: _GIVEN.get(key, value) for key, value in STAGE_LIMITS.items()}}


_GIVEN = {key: os.environ[key] for key in DRIVER_LIMITS if key in os.environ}


def prepare_environment() -> None:
    """Set what MLflow reads at import; before there are threads, for they share the environment."""
    for key, value in {**ENVIRONMENT, **DRIVER_LIMITS}.items():
        os.environ.setdefault(key, value)


@dataclass
class Tracking:
    """One pipeline run in MLflow. Raises UserError where the store cannot be opened; later trouble is told once."""

    root: Path
    pipeline: str
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
        return public_uri(self.uri or store_of(self.root))

    def open(self, config: Mapping[str, Any], command: str) -> None:
        """Open the store, close what a kill left open, and start the parent run."""
        self._open_store()
        token = uuid.uuid4().hex
        try:
            self._close_left_open()
            self._hold(token)
            tags = {
                INVOCATION: token,
                "vlp.root": str(self.root),
                "vlp.command": command,
                "mlflow.source.name": self.pipeline,
            }
            run = self._client.create_run(self.experiment, run_name=self.pipeline, tags=tags)
            self.parent = run.info.run_id
            self._params(self.parent, flatten(config))
            text = json.dumps(config, indent=1, sort_keys=True, default=str)
            self._client.log_text(self.parent, text, "config.json")
        except OSError:
            raise
        except Exception as error:
            self._check_disk(error)
            raise UserError(
                f"{self.place}: MLflow takes no run of experiment {self.pipeline!r} ({first_line(error)}); restore the "
                "experiment if it was deleted, or check that the store can be written"
            ) from error

    def close_left_open(self) -> None:
        """End the runs that a kill left open, where there are some; otherwise the store is not even opened."""
        if any(is_free(path) for path in run_files(self.root)):
            prepare_environment()
            self._open_store()
            self._close_left_open()

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
        if "disk is full" in str(error):  # SQLite's words for it; the error has no number
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

    def _hold(self, token: str) -> None:
        """A lock that lives as long as this driver; its file says where the runs are that it stands for."""
        self._lock = Lock(file_of(self.root, token))
        self._lock.take(sign=False)
        self._lock.write(json.dumps({"store": self.place, "experiment": self.experiment}))

    def _close_left_open(self) -> None:
        """End the runs of this root and store whose driver is gone: its lock is free."""
        for path in run_files(self.root):
            lock = Lock(path)
            said = said_by(path)
            if said.get("store") != self.place or not lock.take(sign=False):
                continue
            try:
                lost = f"tags.`{INVOCATION}` = '{path.name}' and attributes.status = 'RUNNING'"
                for run in self._client.search_runs([said["experiment"]], lost):
                    self._client.set_terminated(run.info.run_id, KILLED)
                path.unlink(missing_ok=True)
            except Exception as error:  # the file stays for the next start
                self._say(error)
            finally:
                lock.release()

    def started(self, step: str, *, fingerprint: str, inputs: Mapping[str, Any], sources: Iterable[Record]) -> str:
        """Open a step's child run; its data sets are the records it stands on. Returns the run's id."""
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
        self._of(step, lambda run: self._data_sets(run, sources))
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
        self._end(step, FINISHED)

    def failed(self, step: str, why: str, *, status: str = FAILED) -> None:
        def tell(run: str) -> None:
            self._client.set_tag(run, "vlp.error", why.strip().splitlines()[-1][:500])
            self._client.log_text(run, why, "error.txt")

        self._of(step, tell)
        self._end(step, status)

    def close(self, *, status: str, pictures: Iterable[Path], headline: Mapping[str, float], note: str) -> None:
        """Pictures, the headline metrics and the map of child runs on the parent, which ends.

        A headline metric that has a curve here is left to it: a last point at step 0 would be drawn into the curve.
        """
        numbers = {key: value for key, value in headline.items() if metric_name(key) not in self._curves}
        for path in pictures:
            self._of(None, partial(self._client.log_artifact, local_path=str(path)))
        self._of(None, lambda run: self._metrics(run, numbers, 0))
        self._of(None, lambda run: self._client.set_tag(run, "mlflow.note.content", note))
        self._end(None, status)
        self._later.finish(LAST_S)
        if self._lock is not None:
            if self._later:
                print(
                    f"warning: MLflow at {self.place} did not take {len(self._later)} writes; the results are kept",
                    file=sys.stderr,
                )
            else:
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

    def link(self, step: str) -> str:
        return f"[{step}](#/experiments/{self.experiment}/runs/{self.children[step]})"

    def link_to_artifact(self, text: str, name: str) -> str:
        return f"[{text}](#/experiments/{self.experiment}/runs/{self.parent}/artifacts/{name})"

    def _data_sets(self, run: str, sources: Iterable[Record]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        results = Results(self.root)
        inputs = [
            DatasetInput(
                dataset=Dataset(
                    name=record.step,
                    digest=record.digest[:DATASET_DIGEST_CHARS],
                    source_type="local",
                    source=json.dumps({"uri": str(results.folder(record.step, record.fingerprint))}),
                    profile=json.dumps(record.counts),
                ),
                tags=[InputTag("mlflow.data.context", "input")],
            )
            for record in sources
        ]
        if inputs:
            self._client.log_inputs(run, datasets=inputs)

    def _params(self, run: str, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:500]) for key, value in values.items()]
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
        if "record" in value:
            return {where: f"{value['step']}/{value['fingerprint']}"}
        flat: dict[str, Any] = {}
        for key, item in value.items():
            if key != "settings":
                flat.update(flatten(item, f"{where}.{key}" if where else str(key)))
        return flat
    if value is None or value in ([], ()):
        return {}
    return {where: value}
