"""The register stage against a real store: round trip, lineage, the champion's moves, and running it twice."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import mlflow
import open_clip
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from jobs import evaluate, register, registry
from tests.vlp_core.evals.builders import classes_file, images_folder, model_folder, picture, rows
from vlp_core.errors import UserError
from vlp_core.evals.encoder import load_encoder
from vlp_core.evals.settings import Evaluate, Register
from vlp_core.tracker import Silent, Summary

SELECTION_DIGEST = "5e1ec7" + "0" * 58
BODIES = [picture((200, 30, 30), 1), picture((20, 30, 230), 2)]
TEXTS = ["a red picture", "something else"]


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty store after its migrations, which take seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


class Material:
    """Models by seed, two evaluation sets, and what the models reach on them, made once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.selection = root / "selection"
        self.selection.mkdir()
        (self.selection / "selection.json").write_text(
            json.dumps({"digest": SELECTION_DIGEST, "rows": 12, "captions": 24})
        )
        self.classes = classes_file(root / "classes.json")
        seeds = {"old": 2, "new": 3}
        self.sets = {
            name: images_folder(root / name, [rows(28, seed=seed)], labelled=True) for name, seed in seeds.items()
        }

    @cache  # noqa: B019
    def model(self, seed: int) -> Path:
        return model_folder(self.root / f"model{seed}", seed)

    @cache  # noqa: B019
    def scores(self, seed: int, data: str) -> dict[str, Any]:
        out = self.root / f"scores{seed}{data}"
        out.mkdir()
        inputs = {"model": self.model(seed), "zero_shot": self.sets[data], "classes": self.classes}
        evaluate.run(**inputs, evaluate=Evaluate(), out=out, tracker=Silent())
        return json.loads((out / "scores.json").read_text())


class Stage:
    """The stage on a store of its own; each registration in its own MLflow run."""

    def __init__(self, root: Path, material: Material) -> None:
        self.root, self.material, self.evaluate = root, material, Evaluate()
        self.ends = True  # the runs, as the driver or the start after it sees to
        self.client = MlflowClient()
        self.experiment = self.client.create_experiment("pretrain", artifact_location=(root / "artifacts").as_uri())

    def register(self, seed: int, data: str = "old", settings: Register | None = None, **forced: float) -> Summary:
        """Register a model on its scores, with some put in the place of what it reached."""
        run_id = self.client.create_run(self.experiment).info.run_id
        os.environ["MLFLOW_RUN_ID"] = run_id
        self.out = self.root / run_id / "out"
        self.out.mkdir(parents=True)
        scores = self.material.scores(seed, data) | forced
        (self.out.parent / "scores.json").write_text(json.dumps(scores))
        try:
            return register.run(
                model=self.material.model(seed),
                scores=self.out.parent,
                selection=self.material.selection,
                zero_shot=self.material.sets[data],
                classes=self.material.classes,
                register=settings or Register(),
                evaluate=self.evaluate,
                out=self.out,
                tracker=Silent(),
            )
        finally:
            if self.ends:
                self.client.set_terminated(run_id)

    @property
    def told(self) -> dict[str, Any]:
        return json.loads((self.out / "_registered.json").read_text())

    def alias(self, name: str) -> str:
        return str(self.client.get_model_version_by_alias("clip", name).version)

    def tags(self, version: str) -> dict[str, str]:
        return self.client.get_model_version("clip", version).tags


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material(tmp_path_factory.mktemp("register"))


@pytest.fixture
def stage(tmp_path: Path, material: Material, fresh_store: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    (tmp_path / "mlflow.db").write_bytes(fresh_store)
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    yield Stage(tmp_path, material)
    mlflow.set_tracking_uri(before)


def test_the_registered_model_and_open_clip_give_the_trained_models_embeddings(stage: Stage) -> None:
    stage.register(1)
    trained = load_encoder(stage.material.model(1))
    images, texts = trained.images(BODIES), trained.texts(TEXTS)

    served = mlflow.pyfunc.load_model("models:/clip@champion")
    answers = served.predict(pd.DataFrame({"text": TEXTS, "image": BODIES}))
    torch.testing.assert_close(torch.tensor(answers["text_embedding"].tolist()), texts, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.tensor(answers["image_embedding"].tolist()), images, atol=1e-5, rtol=0)
    coded = served.predict(pd.DataFrame({"image": [base64.b64encode(BODIES[0]).decode(), None]}))
    torch.testing.assert_close(torch.tensor(coded["image_embedding"][0]), images[0], atol=1e-5, rtol=0)
    assert coded["image_embedding"][1] is None
    assert "text_embedding" not in coded

    folder = f"local-dir:{stage.out / 'export'}"
    model, transform = open_clip.create_model_from_pretrained(folder)
    with torch.no_grad():
        pixels = torch.stack([transform(Image.open(io.BytesIO(body))) for body in BODIES])
        torch.testing.assert_close(model.eval().encode_image(pixels, normalize=True), images, atol=1e-5, rtol=0)
        tokens = open_clip.get_tokenizer(folder)(TEXTS)
        torch.testing.assert_close(model.encode_text(tokens, normalize=True), texts, atol=1e-5, rtol=0)


def test_a_registered_model_leads_to_its_data_its_scores_and_its_run(stage: Stage) -> None:
    stage.ends = False
    summary = stage.register(1)
    told = stage.told
    run = stage.client.get_run(str(told["run_id"]))
    assert run.info.status == "RUNNING", "the run is the caller's to end"
    inputs = {given.dataset.name: given for given in run.inputs.dataset_inputs}
    assert inputs["selection"].dataset.digest == SELECTION_DIGEST[:36]
    assert {tag.value for given in inputs.values() for tag in given.tags} == {"training", "evaluation"}
    assert [model.model_id for model in run.outputs.model_outputs] == [told["model_id"]]

    version = stage.client.get_model_version("clip", str(told["version"]))
    assert version.run_id == run.info.run_id
    tags = version.tags
    assert tags["metric"] == "zero_shot/top1"
    assert float(tags["score"]) == summary.counts["zero_shot/top1"]
    assert tags["data_digest"][:36] == inputs["evaluation"].dataset.digest
    assert tags["selection_digest"] == SELECTION_DIGEST
    assert run.data.tags["champion_decision"] == tags["champion_decision"] == told["reason"]
    assert "the first version" in tags["champion_decision"]
    assert (stage.alias("champion"), stage.alias("candidate")) == ("1", "1")

    score = summary.counts["zero_shot/top1"]
    found = stage.client.search_logged_models(
        [stage.experiment], f"metrics.`zero_shot/top1` > {score - 0.01}", datasets=[{"dataset_name": "evaluation"}]
    )
    assert [model.model_id for model in found] == [told["model_id"]]
    assert run.data.metrics["zero_shot/held_out/top1"] == pytest.approx(
        stage.material.scores(1, "old")["zero_shot/held_out/top1"]
    )


def test_the_card_says_data_recipe_and_scores(stage: Stage) -> None:
    stage.register(1)
    card = (stage.out / "export" / "README.md").read_text()
    front = card.split("---")[1]
    assert "library_name: open_clip" in front
    assert f"| digest | {SELECTION_DIGEST} |" in card
    assert "| embed_dim | 32 |" in card
    scores = stage.material.scores(1, "old")
    assert f"| zero_shot/top1 | {scores['zero_shot/top1']:.4f} | 0.2500 |" in card
    assert scores["data_digest"] in card
    again = stage.out / "export"
    stage.register(1)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in (stage.out / "export").iterdir()
    }


@pytest.mark.parametrize(("second", "champion"), [(0.6, "2"), (0.4, "1"), (0.5, "1")], ids=["better", "worse", "equal"])
def test_champion_moves_only_for_a_better_score(stage: Stage, second: float, champion: str) -> None:
    stage.register(1, **{"zero_shot/top1": 0.5})
    stage.register(2, **{"zero_shot/top1": second})
    assert (stage.alias("champion"), stage.alias("candidate")) == (champion, "2")
    reason = stage.tags("2")["champion_decision"]
    assert reason == stage.told["reason"]
    assert f"{second:g} {'>' if champion == '2' else '<='} 0.5 (version 1)" in reason


@pytest.mark.parametrize("champion_is_worse", [True, False])
def test_changed_data_has_the_champion_scored_again(stage: Stage, champion_is_worse: bool) -> None:
    """The score that is kept speaks of other pictures and must not be compared."""
    stage.register(1, **{"zero_shot/top1": 0.0 if not champion_is_worse else 1.0})
    present = stage.material.scores(1, "new")
    second = present["zero_shot/top1"] + (0.01 if champion_is_worse else -0.01)
    stage.register(2, "new", **{"zero_shot/top1": second})
    assert stage.alias("champion") == ("2" if champion_is_worse else "1")
    assert f"{present['zero_shot/top1']:.6g} (version 1, scored again)" in str(stage.told["reason"])
    assert float(stage.tags("1")["score"]) == present["zero_shot/top1"]
    assert stage.tags("1")["data_digest"] == present["data_digest"]


class Killed(BaseException):
    """Stands for kill -9 at one call."""


def dying(owner: Any, name: str, given: str = "") -> Callable[[pytest.MonkeyPatch], None]:
    """Patch a call so that it ends the process, `given` that among its arguments."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        if not given or given in arguments:
            raise Killed
        return real(*arguments, **named)

    return lambda patch: patch.setattr(owner, name, call)


STEPS = {
    "while the model is uploaded": dying(MlflowClient, "log_model_artifacts"),
    "before the scores": dying(MlflowClient, "log_batch"),
    "before the version": dying(MlflowClient, "create_model_version"),
    "before the tags": dying(MlflowClient, "set_model_version_tag"),
    "before the champion": dying(MlflowClient, "set_registered_model_alias", "champion"),
    "before the run's tags": dying(MlflowClient, "set_tag"),
    "at the end": dying(register, "write_text"),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_and_run_again_registers_once(stage: Stage, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        with pytest.raises(Killed):
            stage.register(1)
    stage.register(1)
    reason = stage.told["reason"]
    assert reason == stage.tags("1")["champion_decision"]
    assert "the first version" in str(reason)
    assert [version.version for version in stage.client.search_model_versions("name = 'clip'")] == [1]
    assert len(stage.client.search_logged_models([stage.experiment])) == 1
    assert (stage.alias("champion"), stage.alias("candidate")) == ("1", "1")


def test_a_model_that_another_run_uploads_is_left_to_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.ends = False
    with monkeypatch.context() as patch, pytest.raises(Killed):
        STEPS["while the model is uploaded"](patch)
        stage.register(1)
    stage.register(1)
    found = [model.status for model in stage.client.search_logged_models([stage.experiment])]
    assert sorted(found) == ["PENDING", "READY"]


def test_what_cannot_be_registered_is_refused_before_anything_is_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"did you mean 'zero_shot/top1'\?"):
        stage.register(1, settings=Register(metric="zero_shot/top2"))
    assert not list(stage.out.iterdir())
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match="does not know the run"):
        register.Registry.connect("clip")
    monkeypatch.delenv("MLFLOW_RUN_ID")
    with pytest.raises(UserError, match="MLFLOW_RUN_ID is not set"):
        register.Registry.connect("clip")


def test_a_server_that_does_not_answer_is_named_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        mlflow.set_tracking_uri(address)
        with pytest.raises(UserError, match=f"no MLflow server answers at {address}"):
            register.Registry.connect("clip")


@pytest.mark.parametrize("name", ["a/b", "", "a:1", " clip"])
def test_a_name_that_no_registry_takes_is_refused_as_it_is_given(name: str) -> None:
    with pytest.raises(UserError, match=r"--register\.name"):
        Register(name=name)


def test_credentials_of_the_server_are_not_shown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mlflow.set_tracking_uri(f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(UserError, match="no MLflow server answers at http://127") as refused:
            register.Registry.connect("clip")
    assert "secret" not in str(refused.value)


def test_a_store_that_fails_on_the_way_is_one_line_and_the_next_start_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise mlflow.exceptions.MlflowException("API request failed: connection refused\nat length")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", gone)
        with pytest.raises(UserError, match=r"failed while 'clip' was registered \(API request .*goes on from there"):
            stage.register(1)
    stage.register(1)
    assert (stage.alias("champion"), len(stage.client.search_logged_models([stage.experiment]))) == ("1", 1)


@pytest.mark.parametrize("turns", [True, False], ids=["on one machine", "on several"])
def test_of_registrations_at_once_the_best_is_champion(
    stage: Stage, turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worse ones dwell between their look at the champion and their move."""
    if not turns:  # a server knows no lock of ours
        monkeypatch.setattr(register.Registry, "turn", lambda _: nullcontext())
    stage.register(1, **{"zero_shot/top1": 0.1})
    for seed in (2, 3):
        stage.register(seed, **{"zero_shot/top1": 0.05})
    server = register.Registry.connect("clip")
    decide, looked = registry.decide, Barrier(2)

    def slowly(*arguments: Any) -> Any:
        decision = decide(*arguments)
        if not turns and not looked.broken:
            with suppress(BrokenBarrierError):
                looked.wait(2)
            looked.abort()
        time.sleep(0.2 if arguments[1] < 0.9 else 0)
        return decision

    monkeypatch.setattr(registry, "decide", slowly)

    def settle(version: str, score: float) -> None:
        standing = register.Standing(metric="zero_shot/top1", score=score, data=stage.tags("1")["data_digest"])
        with server.turn():
            server.settle(version, standing, lambda _: pytest.fail("nothing is to be scored again"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(settle, ("2", "3"), (0.9, 0.5)))
    assert stage.alias("champion") == "2"


def test_the_champion_is_scored_again_as_the_challenger_was_and_stays_where_it_lacks_the_score(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vlp_core.scoring

    used = []
    load = vlp_core.scoring.load_encoder
    monkeypatch.setattr(
        vlp_core.scoring, "load_encoder", lambda folder, settings, **_: used.append(settings) or load(folder, settings)
    )
    stage.evaluate = Evaluate(batch_size=3)
    stage.register(1)
    of_others = "retrieval_first/text_to_image_r@10"
    stage.register(2, "new", Register(metric=of_others), **{of_others: 0.9})
    assert used == [stage.evaluate]
    assert stage.alias("champion") == "1" and "has no such score and stays" in stage.told["reason"]


def test_the_stages_import_without_the_heavy_packages() -> None:
    """A plan imports every stage and must stay quick."""
    code = (
        "import sys, jobs.evaluate, jobs.register; "
        "sys.exit(' '.join({'torch', 'mlflow', 'matplotlib', 'open_clip', 'pandas'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
