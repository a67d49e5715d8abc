"""The evaluate stage: its scores, its pictures, and that equal inputs give equal files."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from jobs import evaluate
from tests.vlp_core.evals.builders import COLOURS, classes_file, images_folder, model_folder, rows
from vlp_core.evals.encoder import load_encoder
from vlp_core.evals.settings import Evaluate
from vlp_core.tracker import Silent


class Heard(Silent):
    def __init__(self) -> None:
        self.last: tuple[int, int | None] = (0, None)

    def progress(self, done: int, total: int | None, *, failed: int = 0, unit: str = "rows") -> None:  # noqa: ARG002
        self.last = (done, total)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("evaluate")
    return {
        "model": model_folder(root / "model", 1),
        "retrieval": images_folder(root / "retrieval", [rows(9), rows(9, seed=1)]),
        "zero_shot": images_folder(root / "zero_shot", [rows(24, seed=2)], labelled=True),
        "classes": classes_file(root / "classes" / "classes.json").parent,
    }


def test_scores_and_pictures_of_both_sets(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    heard = Heard()
    for folder in folders:
        folder.mkdir()
        summary = evaluate.run(**inputs, evaluate=Evaluate(batch_size=7), out=folder, tracker=heard)
    assert heard.last == (16 + 12 + 21, 16 + 12 + 21)  # pictures, texts that differ, labelled pictures
    assert summary.pictures == {"queries": "queries.png", "zero_shot": "zero_shot.png"}
    files = [{path.name: path.read_bytes() for path in sorted(folder.iterdir())} for folder in folders]
    assert files[0] == files[1]
    assert set(files[0]) == {"scores.json", "queries.png", "zero_shot.png"}
    scores = json.loads(files[0]["scores.json"])
    assert len(scores.pop("data_digest")) == 64
    assert scores == summary.counts
    ways = [f"retrieval/{way}_r@{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)]
    tops = [f"zero_shot/{group}top1" for group in ("", "seen/", "held_out/")]
    assert set(scores) == {f"{name}{beside}" for name in ways + tops for beside in ("", "_chance")}
    assert all(0 <= value <= 1 for value in scores.values())
    assert scores["zero_shot/top1_chance"] == 1 / 4


@pytest.mark.parametrize(
    ("device", "resources", "asked"),
    [
        ("auto", {"CPU": 2.0}, []),
        ("cpu", {"GPU": 1.0}, []),
        ("auto", {"GPU": 2.0}, [1.0]),
        ("cuda:1", {"GPU": 2.0}, []),
    ],
)
def test_a_gpu_of_the_cluster_is_asked_of_ray(
    device: str, resources: dict[str, float], asked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.cluster_resources", lambda: resources)
    monkeypatch.setattr(evaluate, "score", lambda work: ({}, work.evaluate.device))
    monkeypatch.setattr(
        evaluate,
        "map_shards",
        lambda function, items, *, task: given.append(task.gpus) or [(item, function(item)) for item in items],
    )
    sets = dict.fromkeys(("retrieval", "zero_shot", "classes", "dual"))
    work = evaluate.Work(model=Path(), **sets, evaluate=Evaluate(device=device))
    assert evaluate.scored(work) == ({}, device) and given == asked


def test_zero_shot_top1_is_what_a_loop_over_pictures_counts(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    only = {name: inputs[name] for name in ("model", "zero_shot", "classes")}
    evaluate.run(**only, evaluate=Evaluate(), out=tmp_path, tracker=Silent())
    scores = json.loads((tmp_path / "scores.json").read_text())
    encoder = load_encoder(inputs["model"])
    right: dict[str, list[bool]] = {"seen": [], "held_out": []}
    means = []
    for name in COLOURS:
        mean = torch.cat([encoder.texts([text]) for text in (f"a {name} picture", f"the colour {name}")]).mean(0)
        means.append(mean / mean.norm())
    for row in rows(24, seed=2):
        if row.body:
            nearest = max(range(4), key=lambda number: float(encoder.images([row.body])[0] @ means[number]))
            right[row.group or ""].append(list(COLOURS)[nearest] == row.label)
    for group, hits in right.items():
        assert scores[f"zero_shot/{group}/top1"] == pytest.approx(sum(hits) / len(hits))
    assert not (tmp_path / "queries.png").exists()


def test_a_model_that_sees_nothing_is_at_chance_or_less(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    blind = model_folder(tmp_path / "blind", 1, constant=True)
    (tmp_path / "out").mkdir()
    summary = evaluate.run(**{**inputs, "model": blind}, evaluate=Evaluate(), out=tmp_path / "out", tracker=Silent())
    found = {name: value for name, value in summary.counts.items() if name.startswith("retrieval/text_to_image_r")}
    assert all(
        found[f"retrieval/text_to_image_r@{k}"] <= found[f"retrieval/text_to_image_r@{k}_chance"] for k in (1, 5, 10)
    )
