"""The main job on a small embedded corpus: from list to registered model, and through kills."""

import io
import json
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipelines.data import Sets
from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.workflow.record import RECORD
from pipelines.workflow.tracking import store_of
from tests.pipelines.conftest import PROJECT, Command, root_with
from tests.vlp_core.curation.drawings import blotches, jpeg
from tests.vlp_core.evals.builders import model_folder
from tests.waiting import until
from vlp_core.curation.settings import Filter
from vlp_core.errors import UserError
from vlp_core.evals.settings import Register
from vlp_core.identity import uid_of

PIPELINE = PROJECT / "pipelines" / "pretrain_clip.py"
SMALL = (
    *("--corpus.scenes", "120", "--corpus.retrieval", "24", "--corpus.per-class", "1"),
    *(
        "--corpus.per-held-out-class",
        "1",
        "--ingest.shard-size",
        "100",
        "--fetch.retries",
        "1",
        "--fetch.pause-s",
        "0.1",
    ),
    *("--train.steps", "30", "--train.batch-size", "32", "--train.warmup", "5", "--train.checkpoint-every", "10"),
    *("--model.vision-layers", "1", "--model.text-layers", "1", "--model.tower", "vit", "--model.vision-width", "64"),
)
STAGES = (
    "corpus",
    "ingest",
    "download",
    "hash",
    "score",  # before those that it might end beside
    "near",
    "matches-retrieval",
    "neighbours",
    "measure",
    "measure-language",
    "filter",
    "dedup",
    "select",
    "report",
    "shard",
    "train",
    "evaluate",
    "register",
)
CLASSES = '{"classes": ["a dog"], "templates": ["{}"]}'


def records(root: Path) -> dict[str, bytes]:
    """The record files of a root by their place in it."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob(f"*/*/{RECORD}"))}


def result(root: Path, step: str) -> Path:
    (path,) = [found.parent for found in (root / step).glob(f"*/{RECORD}") if not found.parent.name.startswith(".")]
    return path


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A small corpus, a model that scores it and leaves out what shows wholly the same to it, and a small model."""
    model = model_folder(tmp_path_factory.mktemp("scorer") / "model", 3)
    return (*SMALL, "--score.model", str(model), "--semantic.epsilon", "1e-6")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, cluster: str, store: Path, flags: tuple[str, ...]
) -> Iterator[Command]:
    """The main job, run once from beginning to end without a disturbance."""
    command = Command(PIPELINE, root_with(store, tmp_path_factory.mktemp("clean") / "root"), cluster, flags)
    said = command()
    assert "✓ register" in said
    kept = command.root.with_name("undisturbed")  # before other tests add results of their own
    shutil.copytree(command.root, kept, ignore=shutil.ignore_patterns("*.tar", "mlartifacts", "*.safetensors"))
    yield command


def undisturbed(finished: Command) -> dict[str, bytes]:
    return records(finished.root.with_name("undisturbed"))


def test_every_stage_is_a_child_run_and_the_model_is_in_the_registry(finished: Command) -> None:
    import mlflow

    client = mlflow.MlflowClient(store_of(finished.root))
    experiment = client.get_experiment_by_name("pretrain-clip")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(STAGES) <= set(children)
    assert all(run.info.status == "FINISHED" for run in runs)
    shown = {"dag.png", "filter-funnel.png", "report-report.html", "train-curve.png", "evaluate-queries.png"}
    assert shown <= {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert all(f"/artifacts/{name}" in parent.data.tags["mlflow.note.content"] for name in shown)
    assert "funnel.png" in [file.path for file in client.list_artifacts(children["filter"].info.run_id)]
    assert len(client.get_metric_history(children["train"].info.run_id, "loss")) >= 3
    assert {found.dataset.name for found in children["train"].inputs.dataset_inputs} >= {"download", "select"}
    version = client.get_model_version_by_alias("clip", "champion")
    assert version.version == client.get_model_version_by_alias("clip", "candidate").version


def test_selection_holds_no_planted_copy_no_leak_and_no_dead_link(finished: Command) -> None:
    import pyarrow.parquet as pq

    truth = pq.read_table(result(finished.root, "corpus") / "truth.parquet").to_pylist()
    selected = set(pq.read_table(result(finished.root, "select") / "selection.parquet")["uid"].to_pylist())
    kept_kinds = {row["kind"] for row in truth if row["uid"] in selected}
    assert kept_kinds.isdisjoint({"leak", "dead", "html", "hostile", "optout", "tiny"}), kept_kinds
    shown = Counter(row["original"] or row["uid"] for row in truth if row["uid"] in selected)
    assert {"exact", "near"} <= {row["kind"] for row in truth} and set(shown.values()) == {1}, "one of each stays"


@pytest.mark.parametrize(
    ("labels", "classes", "metric", "says"),
    [
        ("url,label\n", "{}", None, 'needs "classes"'),
        ("url,caption\n", CLASSES, None, "no column 'label'"),
        (
            "url,label\nhttp://h.test/1,a dgo\n",
            CLASSES,
            None,
            "label 'a dgo' is not among the classes; did you mean 'a dog'?",
        ),
        ("url,label\n", CLASSES, "retrieval/text_to_image_r@1", "no such score"),
    ],
)
def test_what_would_fail_after_training_is_told_before_anything_is_made(
    labels: str, classes: str, metric: str | None, says: str, tmp_path: Path
) -> None:
    for name, text in (("pairs.csv", "url,caption\n"), ("labels.csv", labels), ("classes.json", classes)):
        (tmp_path / name).write_text(text)
    sets = Sets(zero_shot=tmp_path / "labels.csv", classes=tmp_path / "classes.json")
    with pytest.raises(UserError, match=re.escape(says)):
        build(PretrainClip(source=(tmp_path / "pairs.csv",), eval=sets, register=Register(metric=metric)))


def test_a_detector_that_is_not_there_is_told_before_anything_is_fetched() -> None:
    with pytest.raises(UserError, match="language detector 'no_such:detector'"):
        build(PretrainClip(filter=Filter(detector="no_such:detector")))
    build(PretrainClip(filter=Filter(rules=("words>2",), detector="no_such:detector")))


def test_a_finished_pipeline_has_nothing_to_do_and_needs_no_ray(finished: Command) -> None:
    assert "nothing to do" in finished(RAY_ADDRESS="127.0.0.1:1")


def test_verify_reads_everything_and_finds_it_sound(finished: Command) -> None:
    assert "every file is as recorded" in finished("--verify", RAY_ADDRESS="127.0.0.1:1")


def test_another_threshold_refetches_nothing_and_rewrites_no_picture(finished: Command) -> None:
    tars = sorted((finished.root).glob("download*/*/*.tar"))
    before = [(path, path.stat().st_mtime_ns) for path in tars]
    said = finished("--filter.rules", "side>=200", "words>3", "--until", "select")
    assert "✓ filter" in said and "= download" in said and "= hash" in said and "✓ select" in said
    assert [(path, path.stat().st_mtime_ns) for path in sorted(finished.root.glob("download*/*/*.tar"))] == before


@pytest.mark.parametrize("asked", [110])
def test_a_forecast_is_within_15_percent_of_what_the_finished_run_shows(finished: Command, asked: int) -> None:
    """But for times, whose arithmetic is tested on recorded ones: a machine at other work takes longer."""
    tars = sorted(finished.root.glob("download*/*/*.tar"))
    assert "made" in finished("--forecast", "--forecast-links", str(asked), "--forecast-steps", "10")
    told = json.loads((finished.root / "forecast" / "forecast.json").read_text())
    asked_of = told["asked"]["download"]
    assert asked_of["asked"] == asked < 0.75 * asked_of["listed"]
    for name in ("links", "fetched", "transfer", "passed", "selected", "captions"):
        forecast, made = (figures["yield"][name] for figures in (told, told["made"]))
        assert forecast["value"] == pytest.approx(made["value"], rel=0.15), name
        assert forecast["low"] <= made["value"] <= forecast["high"], name
    for name in ("pictures", "model", "checkpoints", "registered", "all"):
        assert told["disk_bytes"][name] == pytest.approx(told["made"]["disk_bytes"][name], rel=0.15), name
    training, steps = told["training"]["train"], told["steps"]["train"]
    assert steps["work_s"] == pytest.approx(30 * training["a_step"])
    assert steps["fixed_s"] == pytest.approx(training["start"] + training["end"] + 3 * training["a_save"])
    assert told["seconds"]["training"] == pytest.approx(steps["fixed_s"] + steps["work_s"], rel=0.01)
    assert set(told["seconds"]) == set(told["made"]["seconds"]) == {"fetching", "judging", "training", "scoring", "all"}
    assert sorted(finished.root.glob("download*/*/*.tar")) == tars  # what is asked of a sample lies by itself
    versions = finished.root / "forecast" / "mlflow.db"
    assert versions.exists() and "nothing to do" in finished(RAY_ADDRESS="127.0.0.1:1")


def test_what_another_root_has_is_left_out(finished: Command, tmp_path: Path, store: Path, cluster: str) -> None:
    """Of three photos it has two: one byte by byte, and one that is kept with less care here."""
    import pyarrow.parquet as pq

    chosen = result(finished.root.with_name("undisturbed"), "select") / "selection.parquet"
    theirs = pq.read_table(chosen).slice(0, 2).to_pylist()
    with tarfile.open(result(finished.root, "corpus") / "web.tar") as web:  # bodies by their sha256
        came = [file.read() for row in theirs if (file := web.extractfile(row["sha256"]))]
    with Image.open(io.BytesIO(came[1])) as picture:
        bodies = (came[0], jpeg(picture.convert("RGB"), 60), jpeg(blotches(1)))
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "captions.csv").write_text("file_name,caption\nsame.jpg,one\nworse.jpg,two\nnew.jpg,three\n")
    uid = {}
    for name, body in zip(("same", "worse", "new"), bodies, strict=True):
        (photos / f"{name}.jpg").write_bytes(body)
        uid[name] = uid_of(f"file:photos/{name}.jpg")
    run = Command(PIPELINE, root_with(store, tmp_path / "root"), cluster, ("--source", str(photos)))
    run("--dedup.against", str(finished.root), "--filter.rules", "captions>=1", "--until", "select")
    selection = result(run.root, "select")
    assert pq.read_table(selection / "selection.parquet")["uid"].to_pylist() == [uid["new"]]
    removed = {row.pop("uid"): row for row in pq.read_table(selection / "removed.parquet").to_pylist()}
    against = str(result(finished.root, "hash"))
    assert removed == {
        uid["same"]: {"against": against, "other_uid": theirs[0]["uid"], "reason": "exact"},
        uid["worse"]: {"against": against, "other_uid": theirs[1]["uid"], "reason": "near"},
    }
    assert "is the root of this very run" in run("--dedup.against", str(run.root), code=2)


def test_a_corrupt_shard_is_named_and_only_it_is_made_again(finished: Command, cluster: str) -> None:
    folder = result(finished.root, "download")
    tar, other = sorted(folder.glob("*.tar"))[:2]
    whole, stamp = tar.read_bytes(), other.stat().st_mtime_ns
    tar.write_bytes(whole[: len(whole) // 2])
    said = finished("--until", "download")
    assert f"{tar.name} is missing or not as it was recorded" in said
    assert tar.read_bytes() == whole
    assert other.stat().st_mtime_ns == stamp


@pytest.mark.timeout(3600)
def test_killed_once_in_every_stage_it_ends_with_the_records_and_curve_of_an_undisturbed_run(
    finished: Command, tmp_path: Path, cluster: str, store: Path
) -> None:
    command = Command(PIPELINE, root_with(store, tmp_path / "root"), cluster, finished.flags)
    amid: set[str] = set()
    for stage in STAGES:
        if stage not in amid and not made(command, stage):  # beside another that was waited for
            amid |= kill_in(command, stage)
    # The rest may end before the blow falls.
    assert amid >= {"corpus", "download", "score", "train", "evaluate", "register"}
    assert "✓ register" in command()
    assert records(command.root) == undisturbed(finished)
    curves = [(result(root, "train") / "curve.jsonl").read_bytes() for root in (command.root, finished.root)]
    assert curves[0] == curves[1]


def kill_in(command: Command, stage: str) -> set[str]:
    """Start the pipeline and kill -9 its driver as soon as `stage` has written something, in training a checkpoint.

    Returns the stages that were at work and had written something: it, if it was not quicker, and any beside it.
    """
    process = command.start()
    for line in process.stdout:
        assert "done in" not in line and "error" not in line, f"{stage} was not reached: {line}"
        if line.startswith(f"▸ {stage} "):
            break
    until(lambda: written(command, stage) or made(command, stage), process, every_s=0.005)
    process.kill()
    process.last_words()
    return {found for found in STAGES if written(command, found) and not made(command, found)}


def written(command: Command, stage: str) -> bool:
    return bool(list(command.root.glob(f"{stage}/*.partial/{'_checkpoints/*' if stage == 'train' else '*'}")))


def made(command: Command, stage: str) -> bool:
    return bool(list(command.root.glob(f"{stage}/*/{RECORD}")))
