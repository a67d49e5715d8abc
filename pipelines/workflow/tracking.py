"""MLflow: a parent run a pipeline, a child run a step. The driver is the only one who writes here, so that a store on
SQLite is opened and migrated once."""

import io
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.workflow.lock import Lock
from pipelines.workflow.record import Record, Results
from pipelines.workflow.worker import Event
from vlp_core.errors import UserError

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
FAILED, FINISHED, KILLED = "FAILED", "FINISHED", "KILLED"
DIGEST_CHARS = 36  # MLflow's limit for the digest of a data set


def store_of(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store in the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


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

    def open(self, config: Mapping[str, Any], command: str) -> None:
        """Open the store, close what a kill left open, and start the parent run."""
        for key, value in ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        self.uri = store_of(self.root)
        self._client = client = self._connect()
        try:
            self.experiment = self._experiment_id(client)
            self._close_left_open()
            tags = {"vlp.root": str(self.root), "vlp.command": command, "mlflow.source.name": self.pipeline}
            run = client.create_run(self.experiment, run_name=self.pipeline, tags=tags)
            self.parent = run.info.run_id
            self._hold(self.parent)
            self._params(self.parent, flatten(config))
            client.log_text(self.parent, json.dumps(config, indent=1, sort_keys=True, default=str), "config.json")
        except Exception as error:
            raise UserError(
                f"{self.uri}: MLflow takes no run of experiment {self.pipeline!r} ({first_line(error)}); restore the "
                "experiment if it was deleted, or check that the store can be written"
            ) from error

    def _connect(self) -> Any:
        limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
        before = {key: os.environ.get(key) for key in limits}
        os.environ.update({key: value for key, value in limits.items() if before[key] is None})
        try:
            import mlflow

            logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of its migrations
            mlflow.set_tracking_uri(self.uri)
            client = mlflow.MlflowClient(self.uri)
            client.search_experiments(max_results=1)
            return client
        except Exception as error:
            raise UserError(
                f"{self.uri}: this MLflow store does not open ({first_line(error)}); start the server, "
                f"or unset MLFLOW_TRACKING_URI to use {self.root / 'mlflow.db'}"
            ) from error
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self.pipeline)
        if found is not None:
            return str(found.experiment_id)
        location = (self.root / "mlartifacts").as_uri() if self.uri.startswith("sqlite:") else None
        kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI then opens on runs and models
        return str(client.create_experiment(self.pipeline, artifact_location=location, tags=kind))

    def _hold(self, run: str) -> None:
        self._lock = Lock(self.root / ".runs" / run)
        self._lock.take()

    def _close_left_open(self) -> None:
        """End the runs of this root whose driver is gone: its lock is free."""
        for path in sorted((self.root / ".runs").glob("*")):
            lock = Lock(path)
            if not lock.take():
                continue
            try:
                children = self._client.search_runs(
                    [self.experiment], f"tags.`mlflow.parentRunId` = '{path.name}' and attributes.status = 'RUNNING'"
                )
                for run in [*(child.info.run_id for child in children), path.name]:
                    self._client.set_terminated(run, KILLED)
            except Exception as error:
                self._say(error)
            path.unlink(missing_ok=True)
            lock.release()

    def started(self, step: str, *, fingerprint: str, inputs: Mapping[str, Any], sources: Iterable[Record]) -> str:
        """Open a step's child run; its data sets are the records it stands on. Returns the run's id."""
        tags = {"mlflow.parentRunId": self.parent, "vlp.step": step, "vlp.fingerprint": fingerprint}
        try:
            run = self._client.create_run(self.experiment, run_name=step, tags=tags)
            self.children[step] = run.info.run_id
            self._params(run.info.run_id, flatten(inputs))
            self._data_sets(run.info.run_id, sources)
        except Exception as error:
            self._say(error)
        return self.children.get(step, "")

    def reused(self, step: str, record: Record, made_by: str | None) -> None:
        """A finished child run that points at the run which made the result."""
        self.started(step, fingerprint=record.fingerprint, inputs={**record.inputs, **record.extends}, sources=())
        run = self.children.get(step)
        if not run:
            return
        try:
            self._client.set_tag(run, "vlp.reused", "true")
            if made_by:
                link = f"#/experiments/{self.experiment}/runs/{made_by}"
                self._client.set_tag(run, "vlp.made_by", made_by)
                self._client.set_tag(run, "mlflow.note.content", f"Reused: [made by this run]({link}).")
            self._metrics(run, {f"count/{key}": value for key, value in record.counts.items()}, 0)
        except Exception as error:
            self._say(error)
        self._end(run, FINISHED)

    def events(self, events: Iterable[Event]) -> None:
        """Write what steps reported: all points of a step in one call."""
        from mlflow.entities import Metric

        points: dict[str, list[Any]] = {}
        for event in events:
            run = self.children.get(event.step)
            if not run:
                continue
            if event.kind == "metrics":
                at, when = event.body["at"], int(event.time * 1000)
                for key, value in event.body["values"].items():
                    points.setdefault(run, []).append(Metric(metric_name(key), float(value), when, at))
                    parents = metric_name(f"{event.step}/{key}")  # where runs are compared
                    points.setdefault(self.parent, []).append(Metric(parents, float(value), when, at))
            else:
                self._write(run, event)
        for run, metrics in points.items():
            try:
                for start in range(0, len(metrics), 1000):
                    self._client.log_batch(run, metrics=metrics[start : start + 1000])
            except Exception as error:
                self._say(error)

    def _write(self, run: str, event: Event) -> None:
        try:
            if event.kind == "picture":
                from PIL import Image

                image = Image.open(io.BytesIO(event.body["png"]))
                self._client.log_image(run, image, key=event.body["name"], step=event.body["at"])
            elif event.kind == "table":
                self._client.log_table(run, event.body["columns"], f"{event.body['name']}.json")
        except Exception as error:
            self._say(error)

    def made(self, step: str, record: Record, folder: Path) -> None:
        """Counts and pictures of a result on its child run, which ends."""
        run = self.children.get(step)
        if not run:
            return
        try:
            self._metrics(run, {f"count/{key}": value for key, value in record.counts.items()}, 0)
            for picture in record.pictures.values():
                self._client.log_artifact(run, str(folder / picture))
            self._client.set_tag(run, "vlp.record", record.digest)
            self._client.set_tag(run, "vlp.folder", str(folder))
        except Exception as error:
            self._say(error)
        self._end(run, FINISHED)

    def failed(self, step: str, why: str, *, status: str = FAILED) -> None:
        run = self.children.get(step)
        if not run:
            return
        try:
            self._client.set_tag(run, "vlp.error", why.strip().splitlines()[-1][:500])
            self._client.log_text(run, why, "error.txt")
        except Exception as error:
            self._say(error)
        self._end(run, status)

    def close(
        self, *, status: str, dag: Path, pictures: Mapping[str, Path], headline: Mapping[str, float], note: str
    ) -> None:
        """The DAG, the steps' pictures, the headline metrics and the map of child runs on the parent, which ends."""
        try:
            self._client.log_artifact(self.parent, str(dag))
            for name, path in pictures.items():
                self._client.log_artifact(self.parent, str(path), f"pictures/{name}")
            self._metrics(self.parent, headline, 0)
            self._client.set_tag(self.parent, "mlflow.note.content", note)
        except Exception as error:
            self._say(error)
        self._end(self.parent, status)
        if self._lock is not None:
            self._lock.path.unlink(missing_ok=True)
            self._lock.release()

    def _end(self, run: str, status: str) -> None:
        try:
            self._client.set_terminated(run, status)
        except Exception as error:
            self._say(error)

    def link(self, step: str) -> str:
        return f"[{step}](#/experiments/{self.experiment}/runs/{self.children[step]})"

    def _data_sets(self, run: str, sources: Iterable[Record]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        results = Results(self.root)
        inputs = [
            DatasetInput(
                dataset=Dataset(
                    name=record.step,
                    digest=record.digest[:DIGEST_CHARS],
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
            print(f"warning: MLflow at {self.uri} fails ({self.trouble}); the results are kept", file=sys.stderr)


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def metric_name(name: str) -> str:
    """A name that MLflow takes: `lost/side>=200` becomes `lost/side ge 200`."""
    for sign, word in ((">=", " ge "), ("<=", " le "), (">", " gt "), ("<", " lt "), ("=", " is ")):
        name = name.replace(sign, word)
    return re.sub(r"[^\w\-. :/]", "_", name)


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
