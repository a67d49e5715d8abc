"""Register a model: an open_clip export with its card, a logged model, a version, and the champion's alias if it won."""

import json
import os
import re
import socket
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jobs.champion import Decision, Rival, choose_metric, decide
from jobs.evaluate import DATA_DIGEST, SCORES_FILE
from jobs.model_card import CONFIG, Sources, read_json, scores_table, write_export
from vlp_core.errors import UserError
from vlp_core.evals.settings import Register
from vlp_core.files import write_text
from vlp_core.identity import digest_of, sha256_of_file
from vlp_core.tracker import Summary, Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.entities.model_registry import ModelVersion

VERSION = "1"
CANDIDATE, CHAMPION = "candidate", "champion"
DECISION = "champion_decision"
SERVED = Path(__file__).with_name("served_clip.py")
REQUIREMENTS = ("mlflow", "open_clip_torch", "torch", "torchvision", "pillow", "pandas")
DIGEST = 36  # characters that MLflow keeps of a data set's digest


def run(
    *,
    model: Path,
    scores: Path,
    selection: Path,
    retrieval: Path | None = None,
    zero_shot: Path | None = None,
    classes: Path | None = None,
    register: Register,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write `export/` and register it with the MLflow server that MLFLOW_TRACKING_URI names, under MLFLOW_RUN_ID.

    Running it again for the same model adds nothing to the registry.

    Args:
        model: a model folder (model.safetensors, config.json).
        scores: where scores.json of this model lies.
        selection: where selection.json lies: the data it was trained on.
        retrieval, zero_shot, classes: the evaluation data, for scoring the champion again where it changed.

    Raises:
        UserError: a name no registry takes, a metric that the scores lack, or a server that does not answer.
    """
    _check_name(register.name)
    values = read_json(scores / SCORES_FILE)
    data_digest = str(values.pop(DATA_DIGEST))
    metric = choose_metric(register.metric, values)
    config = read_json(model / "config.json")
    sources = Sources(
        name=register.name,
        config=config,
        selection=read_json(selection / "selection.json"),
        scores=values,
        data_digest=data_digest,
    )
    write_export(out / "export", model / "model.safetensors", sources)
    tracker.progress(1, 3, unit="parts")

    registry = Registry.connect(register.name)
    digest = digest_of([sha256_of_file(model / "model.safetensors"), config])
    model_id = registry.log_model(out / "export", sources, digest)
    registry.log_lineage(model_id, sources, selection)
    version = registry.version(model_id, sources, digest)
    tracker.progress(2, 3, unit="parts")

    def rescore(folder: Path) -> float:
        return _score(folder, retrieval, zero_shot, classes, expected=data_digest)[metric]

    decision = registry.settle(version, Standing(metric=metric, score=values[metric], data=data_digest), rescore)
    told = {
        "name": register.name,
        "version": version,
        "model_id": model_id,
        "run_id": registry.run_id,
        "champion": decision.champion,
        "reason": decision.reason,
    }
    write_text(out / "_registered.json", json.dumps(told, indent=2, sort_keys=True) + "\n")
    tracker.progress(3, 3, unit="parts")
    return Summary(counts={metric: values[metric], CHAMPION: float(decision.champion)})


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[\w.\-]+( [\w.\-]+)*", name):
        raise UserError(f"registry name {name!r}: use letters, digits, '-', '_', '.' and single spaces, such as 'clip'")


def _score(
    folder: Path, retrieval: Path | None, zero_shot: Path | None, classes: Path | None, *, expected: str
) -> dict[str, float]:
    """What the evaluators say of an export folder on the present evaluation data."""
    from vlp_core.evals.encoder import load_encoder
    from vlp_core.evals.evaluators import Suite, score

    suite = Suite.read(retrieval=retrieval, zero_shot=zero_shot, classes=classes)
    if suite.digest != expected:
        raise UserError("the scores are of other evaluation data than register was given; evaluate this model again")
    return score(load_encoder(folder), suite.evaluators())


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

    @classmethod
    def connect(cls, name: str) -> "Registry":
        """Raises UserError where the server does not answer or no run is open."""
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            raise UserError("MLFLOW_RUN_ID is not set: register runs as a step of a pipeline, which opens its run")
        import mlflow

        uri = mlflow.get_tracking_uri()
        _check_server(uri)
        client = mlflow.MlflowClient()
        try:
            experiment = client.get_run(run_id).info.experiment_id
        except mlflow.exceptions.MlflowException as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"MLflow at {uri} does not know the run {run_id} ({reason}); see MLFLOW_TRACKING_URI") from error
        return cls(client=client, name=name, run_id=run_id, experiment_id=experiment)

    def log_model(self, export: Path, sources: Sources, digest: str) -> str:
        """The id of the logged model with this digest, made if it is not there whole."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        found = self.client.search_logged_models([self.experiment_id], filter_string=f"tags.model_digest = '{digest}'")
        ready = [model.model_id for model in found if model.status == LoggedModelStatus.READY]
        for model in found:
            if model.status != LoggedModelStatus.READY:  # what a kill left
                self.client.delete_logged_model(model.model_id)
        model_id = ready[0] if ready else self._upload(export, sources, digest)
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step=0)])
        return model_id

    def _upload(self, export: Path, sources: Sources, digest: str) -> str:
        import mlflow
        from mlflow.entities import LoggedModelStatus
        from mlflow.models import Model

        logged = self.client.create_logged_model(
            self.experiment_id,
            name=self.name,
            source_run_id=self.run_id,
            tags={"model_digest": digest, "selection_digest": str(sources.selection["digest"])},
            model_type="clip",
        )
        kept = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=self.run_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as folder:
            mlflow.pyfunc.save_model(
                path=f"{folder}/model",
                python_model=str(SERVED),
                artifacts={"export": str(export)},
                signature=_signature(),
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                mlflow_model=kept,
            )
            self.client.log_model_artifacts(logged.model_id, f"{folder}/model")
        self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        return logged.model_id

    def log_lineage(self, model_id: str, sources: Sources, selection: Path) -> None:
        """The selection and the evaluation data as inputs of the run; the scores on the run, the model and that data."""
        from mlflow.entities import Metric

        selected = _dataset("selection", str(sources.selection["digest"]), selection, "training")
        judged = _dataset("evaluation", sources.data_digest, None, "evaluation")
        self.client.log_inputs(self.run_id, datasets=[selected, judged])
        now = int(time.time() * 1000)
        metrics = [
            Metric(
                metric_name(name), value, now, 0,
                model_id=model_id, dataset_name=judged.dataset.name, dataset_digest=judged.dataset.digest, run_id=self.run_id,
            )
            for name, value in sources.scores.items()
        ]  # fmt: skip
        self.client.log_batch(self.run_id, metrics=metrics)

    def version(self, model_id: str, sources: Sources, digest: str) -> str:
        """The version of this model, made if the registry has none, as the candidate."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        try:
            self.client.create_registered_model(self.name, description="Contrastive image-text models (CLIP).")
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.model_digest = '{digest}'")
        number = found[0].version if found else self._create_version(model_id, sources, digest)
        self.client.set_registered_model_alias(self.name, CANDIDATE, str(number))
        return str(number)

    def _create_version(self, model_id: str, sources: Sources, digest: str) -> str:
        selection = str(sources.selection["digest"])
        return self.client.create_model_version(
            self.name,
            source=f"models:/{model_id}",
            run_id=self.run_id,
            model_id=model_id,
            tags={"model_digest": digest, "selection_digest": selection, DATA_DIGEST: sources.data_digest},
            description=f"Trained on the selection `{selection}`.\n\n{scores_table(sources.scores)}",
        ).version

    def settle(self, version: str, standing: Standing, rescore: Any) -> Decision:
        """Move the champion's alias if `version` wins it, and tag run and version with the reason.

        The tags come before the alias: a kill between them leaves a reason that the next run finds again.

        Args:
            rescore: gives the score of an export folder on the present data.
        """
        champion = self._champion()
        if champion is not None and str(champion.version) == version:
            decision = self._already(champion, standing)
        else:
            rival = None if champion is None else self._rival(champion, standing, rescore)
            decision = decide(standing.metric, standing.score, rival, standing.data)
        self._tag(version, standing.tags | {DECISION: decision.reason})
        if decision.champion:
            self.client.set_registered_model_alias(self.name, CHAMPION, version)
        self.client.set_tag(self.run_id, DECISION, decision.reason)
        self.client.set_tag(self.run_id, "registered_as", f"{self.name} version {version}")
        return decision

    def _champion(self) -> "ModelVersion | None":
        aliases = self.client.get_registered_model(self.name).aliases
        return self.client.get_model_version(self.name, str(aliases[CHAMPION])) if CHAMPION in aliases else None

    def _already(self, champion: "ModelVersion", standing: Standing) -> Decision:
        """The reason it became the champion, as long as that still speaks of this score."""
        if standing.tags.items() <= champion.tags.items() and DECISION in champion.tags:
            return Decision(champion=True, reason=champion.tags[DECISION])
        where = f"{standing.metric} {standing.score:.6g} on data {standing.data[:8]}"
        return Decision(champion=True, reason=f"{where}: this version was the champion already")

    def _rival(self, champion: "ModelVersion", standing: Standing, rescore: Any) -> Rival:
        """The champion's score by the same metric on the same data: as it is kept, or made now."""
        number, tags = str(champion.version), champion.tags
        if tags.get("metric") == standing.metric and tags.get(DATA_DIGEST) == standing.data and "score" in tags:
            return Rival(version=number, score=float(tags["score"]))
        import mlflow

        with tempfile.TemporaryDirectory() as folder:
            mlflow.artifacts.download_artifacts(f"models:/{self.name}/{number}", dst_path=folder)
            exports = sorted(Path(folder).rglob(CONFIG))
            if not exports:
                raise UserError(
                    f"{self.name}@{CHAMPION} (version {number}) holds no open_clip export, so it cannot be scored on the new "
                    f"evaluation data; give the alias to a version of this pipeline, or register under another name"
                )
            score = rescore(exports[0].parent)
        self._tag(number, Standing(metric=standing.metric, score=score, data=standing.data).tags)
        return Rival(version=number, score=score, again=True)

    def _tag(self, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)


def metric_name(name: str) -> str:
    """A score's name in MLflow, which takes no '@': `r@10` is `r_at_10` there."""
    return re.sub(r"[^\w/.\- ]", "_", name.replace("@", "_at_"))


def _dataset(name: str, digest: str, path: Path | None, context: str) -> "DatasetInput":
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    source = CodeDatasetSource(tags={"digest": digest} | ({"path": str(path)} if path else {}))
    dataset = MetaDataset(source, name=name, digest=digest[:DIGEST])
    tags = [InputTag("mlflow.data.context", context)]
    return DatasetInput(dataset=dataset._to_mlflow_entity(), tags=tags)


def _signature() -> Any:
    """Texts, pictures (bytes, or base64 where JSON carries them), or both."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType, Array, DataType

    inputs = [ColSpec(DataType.string, "text", required=False), ColSpec(AnyType(), "image", required=False)]
    vectors = [ColSpec(Array(DataType.double), f"{name}_embedding", required=False) for name in ("text", "image")]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(vectors))


def _check_server(uri: str) -> None:
    """MLflow itself would try for minutes."""
    server = urlsplit(uri)
    if server.scheme not in ("http", "https"):
        return
    try:
        port = server.port or (443 if server.scheme == "https" else 80)
        socket.create_connection((server.hostname or "", port), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no MLflow server answers at {uri} ({error}); start it or set MLFLOW_TRACKING_URI") from error
