"""Names of the registry in settings stand for folders, of a store on this disk or of a server."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus

from pipelines.workflow.registered import resolved
from tests.pipelines.conftest import root_with
from vlp_core.curation.score_settings import Score
from vlp_core.errors import UserError
from vlp_core.settings import path_or_name


@dataclass(frozen=True, kw_only=True)
class Start:
    start: tuple[str, ...] = path_or_name(())
    note: str = "models:/clip@champion"


@dataclass(frozen=True, kw_only=True)
class Config:
    score: Score = Score()
    train: Start = Start()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    """Results with version 1 of `clip`, its champion, and a version of `notes` that holds no model."""
    root = root_with(store, tmp_path_factory.mktemp("registered") / "runs")
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.create_experiment("pretrain", artifact_location=(root / "mlartifacts").as_uri())
    for name, file in (("clip", "artifacts/export/open_clip_config.json"), ("notes", "notes.txt")):
        logged = client.create_logged_model(experiment, name=name)
        folder = Path(logged.artifact_location.removeprefix("file://"))
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text("{}")
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        client.create_registered_model(name)
        run = client.create_run(experiment).info.run_id
        client.create_model_version(name, source=logged.artifact_location, run_id=run, model_id=logged.model_id)
        client.set_registered_model_alias(name, "champion", "1")
    return root


@pytest.mark.parametrize("named", ["models:/clip@champion", "models:/clip/1"])
def test_a_name_becomes_the_folder_of_its_export(named: str, root: Path) -> None:
    config = Config(score=Score(model=named), train=Start(start=(f"image={named}", "text=bert")))
    found = resolved(config, root)
    assert Path(found.score.model, "open_clip_config.json").is_file()
    assert found.train == Start(start=(f"image={found.score.model}", "text=bert"))  # a note is no name of a model
    assert resolved(Config(), root) == Config()


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("models:/clip", "names no registered model"),
        ("models:/clip@best", "not to be had from the registry"),
        ("models:/clip/7", "not to be had from the registry"),
        ("models:/other@champion", "not to be had from the registry"),
        ("models:/notes@champion", "holds no export"),
    ],
)
def test_a_name_that_is_not_there_is_one_line(named: str, says: str, root: Path) -> None:
    with pytest.raises(UserError) as refused:
        resolved(Config(score=Score(model=named)), root)
    assert str(refused.value).startswith(f"{named}: {says}") and "\n" not in str(refused.value)


def test_without_a_store_nothing_is_registered_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is registered yet"):
        resolved(Config(score=Score(model="models:/clip@champion")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"no MLflow server answers at http://127\.0\.0\.1:9") as refused:
        resolved(Config(score=Score(model="models:/clip@champion")), tmp_path)
    assert "secret" not in str(refused.value)
