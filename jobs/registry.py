"""MLflow's side of registering: the logged model with its data and scores, its version, and who is the champion."""

import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.champion import Decision, Rival, decide
from jobs.evaluate import DATA_DIGEST
from jobs.model_card import SYSTEM_CONFIG, Sources, scores_table
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import locked
from vlp_core.metric_names import DATASET_DIGEST_CHARS, metric_name
from vlp_core.train.trained_on import SELECTION_TAG, start_tags
from vlp_core.uris import knock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
DECISION = "champion_decision"
SETTLINGS = 5  # how often the champion may change while one is settled
SERVED = Path(__file__).with_name("served_clip.py")
REQUIREMENTS = ("mlflow", "open_clip_torch", "torch", "torchvision", "pillow", "pandas")
SERVED_SYSTEM = Path(__file__).with_name("served_system.py")
LIBRARY = Path(__file__).parents[1] / "vlp_core"  # which MLflow keeps with a system: open_clip does not know it
OF_THE_LIBRARY = ("timm", "tokenizers", "safetensors", "pyarrow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A version's score: by which metric, how much, and the digest of the data; kept as tags of the version."""

    metric: str
    score: float
    data: str

    @property
    def tags(self) -> dict[str, str]:
        return {"metric": self.metric, "score": repr(self.score), DATA_DIGEST: self.data}


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One registered model seen from one run; the run is the caller's to end."""

    client: "MlflowClient"
    name: str
    run_id: str
    experiment_id: str
    uri: str

    @classmethod
    def connect(cls, name: str) -> "Registry":
        """The registry where MLflow is set to. UserError where it does not answer or no run is open."""
        import mlflow

        uri = mlflow.get_tracking_uri()
        try:
            knock(uri)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no MLflow server answers at {public_text(uri)} ({error}); start it or set MLFLOW_TRACKING_URI"
            ) from error
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            raise UserError(
                "MLFLOW_RUN_ID is not set: register runs as a step of a pipeline, which opens its run where MLflow "
                "answers; start it again"
            )
        client = mlflow.MlflowClient(uri)
        try:
            experiment = client.get_run(run_id).info.experiment_id
        except mlflow.exceptions.MlflowException as error:
            raise UserError(
                f"MLflow at {public_text(uri)} does not know the run {run_id} ({first_line(error)}); "
                "see MLFLOW_TRACKING_URI"
            ) from error
        return cls(client=client, name=name, run_id=run_id, experiment_id=experiment, uri=uri)

    @contextmanager
    def failures_told(self) -> Iterator[None]:
        """A store that fails on the way is one line: what was registered stays, and the rest is done the next time."""
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            yield
        except (MlflowException, RequestException) as error:
            raise UserError(
                f"MLflow at {public_text(self.uri)} failed while {self.name!r} was registered ({first_line(error)}); "
                "the same command goes on from there"
            ) from error

    def log_model(self, export: Path, sources: Sources, digest: str) -> str:
        """The id of the logged model with this digest: the registered one, or one made here, now if need be."""
        from mlflow.entities import LoggedModelOutput

        version = self._find(digest)
        model_id = (version and version.model_id) or self._left_whole(digest) or self._upload(export, sources, digest)
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step=0)])
        return model_id

    def _left_whole(self, digest: str) -> str | None:
        """What a run that was killed before it registered has left: whole ones are used, others deleted.

        One whose run goes on is somebody else's, who is still uploading it.
        """
        from mlflow.entities import LoggedModelStatus

        found = self.client.search_logged_models([self.experiment_id], filter_string=f"tags.model_digest = '{digest}'")
        ready = [model.model_id for model in found if model.status == LoggedModelStatus.READY]
        for model in found:
            if model.status != LoggedModelStatus.READY and not self._at_work(model.source_run_id):
                self.client.delete_logged_model(model.model_id)
        return ready[0] if ready else None

    def _at_work(self, run_id: str | None) -> bool:
        return run_id not in (None, self.run_id) and self.client.get_run(run_id).info.status == "RUNNING"

    def _find(self, digest: str) -> "ModelVersion | None":
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.model_digest = '{digest}'")
        return found[0] if found else None

    def _upload(self, export: Path, sources: Sources, digest: str) -> str:
        import mlflow
        from mlflow.entities import LoggedModelStatus
        from mlflow.models import Model

        logged = self.client.create_logged_model(
            self.experiment_id,
            name=self.name,
            source_run_id=self.run_id,
            tags={"model_digest": digest, SELECTION_TAG: str(sources.selection["digest"])},
            model_type=str(sources.config["recipe"]["name"]),
        )
        kept = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=self.run_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input example")
            logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # it misses pip where uv installs
            of_open_clip = "open_clip" in sources.config
            needed = REQUIREMENTS if of_open_clip else (*REQUIREMENTS, *OF_THE_LIBRARY)
            mlflow.pyfunc.save_model(
                path=f"{folder}/model",
                python_model=str(SERVED if of_open_clip else SERVED_SYSTEM),
                code_paths=None if of_open_clip else [str(LIBRARY)],
                artifacts={"export": str(export)},
                signature=_signature(of_open_clip=of_open_clip),
                pip_requirements=[f"{name}=={installed(name)}" for name in needed],
                mlflow_model=kept,
            )
            self.client.log_model_artifacts(logged.model_id, f"{folder}/model")
        self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        return logged.model_id

    def log_lineage(self, model_id: str, sources: Sources, selection: Path) -> None:
        """The selection and the evaluation data as inputs of the run; the scores on run, model and that data."""
        from mlflow.entities import Metric

        digest = str(sources.selection["digest"])
        selected = _dataset("selection", digest, "training", selection, sources.selection)
        judged = _dataset("evaluation", sources.data_digest, "evaluation", None, {})
        self.client.log_inputs(self.run_id, datasets=[selected, judged])
        now = int(time.time() * 1000)
        on: dict[str, Any] = {"dataset_name": judged.dataset.name, "dataset_digest": judged.dataset.digest}
        metrics = [
            Metric(metric_name(name), value, now, 0, model_id=model_id, run_id=self.run_id, **on)
            for name, value in sources.scores.items()
        ]
        self.client.log_batch(self.run_id, metrics=metrics)

    def version(self, model_id: str, sources: Sources, digest: str) -> str:
        """The version of this model, made if the registry has none, as the candidate."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        try:
            self.client.create_registered_model(
                self.name, description="Vision-language models, registered by a pipeline."
            )
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        found = self._find(digest)
        number = found.version if found else self._create_version(model_id, sources, digest)
        self.client.set_registered_model_alias(self.name, CANDIDATE, str(number))
        return str(number)

    def _create_version(self, model_id: str, sources: Sources, digest: str) -> str:
        selection = str(sources.selection["digest"])
        tags = {"model_digest": digest, SELECTION_TAG: selection, DATA_DIGEST: sources.data_digest}
        return self.client.create_model_version(
            self.name,
            source=f"models:/{model_id}",
            run_id=self.run_id,
            model_id=model_id,
            tags=tags | start_tags(sources.start),
            description=f"Trained on the selection `{selection}`.\n\n{scores_table(sources.scores)}",
        ).version

    def settle(self, version: str, standing: Standing, rescore: Callable[[Path], float | None]) -> Decision:
        """Move the champion's alias if `version` wins it, and tag run and version with the reason.

        The tags come before the alias: a kill between them leaves a reason that the next run finds again. On a server
        another registration may settle at the same time: the champion is looked at again before and after it is moved.

        Args:
            rescore: gives the score of an export folder on the present data; None where it has none such.
        """
        for _ in range(SETTLINGS):
            champion = self._champion()
            decision = self._decide(champion, version, standing, rescore)
            self._tag(version, standing.tags | {DECISION: decision.reason})
            if not decision.champion or _is(champion, version):
                break
            if _number(self._champion()) != _number(champion):
                continue
            self.client.set_registered_model_alias(self.name, CHAMPION, version)
            if _is(self._champion(), version):
                break
        self.client.set_tag(self.run_id, DECISION, decision.reason)
        self.client.set_tag(self.run_id, "registered_as", f"{self.name} version {version}")
        return decision

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Registrations into one SQLite file take turns by a lock beside it."""
        if not self.uri.startswith("sqlite:///"):
            yield
            return
        with locked(Path(self.uri.removeprefix("sqlite:///")).with_suffix(".register.lock")):
            yield

    def _decide(
        self,
        champion: "ModelVersion | None",
        version: str,
        standing: Standing,
        rescore: Callable[[Path], float | None],
    ) -> Decision:
        if champion is not None and _is(champion, version):
            return self._already(champion, standing)
        rival = None if champion is None else self._rival(champion, standing, rescore)
        return decide(standing.metric, standing.score, rival, standing.data)

    def _champion(self) -> "ModelVersion | None":
        aliases = self.client.get_registered_model(self.name).aliases
        return self.client.get_model_version(self.name, str(aliases[CHAMPION])) if CHAMPION in aliases else None

    def _already(self, champion: "ModelVersion", standing: Standing) -> Decision:
        """The reason it became the champion, as long as that still speaks of this score."""
        if standing.tags.items() <= champion.tags.items() and DECISION in champion.tags:
            return Decision(champion=True, reason=champion.tags[DECISION])
        where = f"{standing.metric} {standing.score:.6g} on data {standing.data[:8]}"
        return Decision(champion=True, reason=f"{where}: this version was the champion already")

    def _rival(self, champion: "ModelVersion", standing: Standing, rescore: Callable[[Path], float | None]) -> Rival:
        """The champion's score by the same metric on the same data: as it is kept, or made now."""
        number, tags = str(champion.version), champion.tags
        if tags.get("metric") == standing.metric and tags.get(DATA_DIGEST) == standing.data and "score" in tags:
            return Rival(version=number, score=float(tags["score"]))
        import mlflow

        from vlp_core.model_folder import EXPORT_CONFIG

        with tempfile.TemporaryDirectory() as folder:
            mlflow.artifacts.download_artifacts(f"models:/{self.name}/{number}", dst_path=folder)
            exports = sorted([*Path(folder).rglob(EXPORT_CONFIG), *Path(folder).rglob(SYSTEM_CONFIG)])
            if not exports:
                raise UserError(
                    f"{self.name}@{CHAMPION} (version {number}) holds no export, so it cannot be scored on "
                    f"the new evaluation data; give the alias to another version, or register under another name"
                )
            score = rescore(exports[0].parent)
        if score is not None:
            self._tag(number, Standing(metric=standing.metric, score=score, data=standing.data).tags)
        return Rival(version=number, score=score, again=True)

    def _tag(self, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)


def _number(version: "ModelVersion | None") -> str | None:
    return None if version is None else str(version.version)


def _is(champion: "ModelVersion | None", version: str) -> bool:
    return _number(champion) == version


def _dataset(name: str, digest: str, context: str, source: Path | None, profile: Mapping[str, Any]) -> "DatasetInput":
    """A data set that MLflow shows as an input of the run; the folder is where it lay, the digest what it was."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    place = json.dumps({"uri": str(source or name)})
    dataset = Dataset(name, digest[:DATASET_DIGEST_CHARS], "local", place, profile=json.dumps(profile, sort_keys=True))
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", context)])


def _signature(*, of_open_clip: bool) -> Any:
    """Texts, pictures (bytes, or base64 where JSON carries them), or both; and what is said of them."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType, Array, DataType

    vector = Array(DataType.double)
    inputs = Schema([ColSpec(DataType.string, "text", required=False), ColSpec(AnyType(), "image", required=False)])
    answers: dict[str, Any] = {"text_embedding": vector, "image_embedding": vector}
    if not of_open_clip:
        answers |= {"match": DataType.double, "caption": DataType.string}
    outputs = Schema([ColSpec(kind, name, required=False) for name, kind in answers.items()])
    return ModelSignature(inputs=inputs, outputs=outputs)
