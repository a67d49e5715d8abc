"""Class vectors against open_clip's, accuracies against a plain reference, and what a class file may hold."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from tests.vlp_core.evals.builders import model_folder
from vlp_core.errors import UserError
from vlp_core.evals.encoder import load_encoder
from vlp_core.evals.settings import Evaluate
from vlp_core.evals.zero_shot import Classes, accuracies, classifier, ranks


def test_class_vectors_are_those_of_open_clips_own_ensemble(tmp_path: Path) -> None:
    encoder = load_encoder(model_folder(tmp_path / "model", 0), Evaluate(batch_size=5))
    classes = Classes(names=("red", "green", "blue"), templates=("a photo of a {}", "the {} one", "{}"))
    expected = open_clip.build_zero_shot_classifier(
        encoder.model.clip, encoder.tokenize, classes.names, classes.templates, num_classes_per_batch=None
    )
    torch.testing.assert_close(classifier(encoder, classes), expected.T, atol=1e-6, rtol=0)


def test_accuracies_are_those_of_a_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    images, weights = (normalize(torch.randn(n, 6, generator=generator), dim=-1) for n in (200, 9))
    labels = torch.randint(9, (200,), generator=generator)
    groups = ["seen" if label < 6 else "held_out" if label < 8 else None for label in labels.tolist()]
    scores = dict(accuracies(ranks(images, weights, labels), groups, 9))
    order = (images @ weights.T).argsort(dim=1, descending=True)
    for k in (1, 5):
        right = (order[:, :k] == labels[:, None]).any(1)
        assert scores[f"top{k}"] == pytest.approx(right.double().mean().item())
        assert scores[f"top{k}_chance"] == k / 9
        for group in ("seen", "held_out"):
            of_group = right[torch.tensor([name == group for name in groups])]
            assert scores[f"{group}/top{k}"] == pytest.approx(of_group.double().mean().item())


@pytest.mark.parametrize("value", [0.5, torch.nan])
def test_a_collapsed_model_is_never_right(value: float) -> None:
    last = ranks(torch.full((10, 4), value), torch.full((7, 4), value), torch.arange(10) % 7)
    assert dict(accuracies(last, [None] * 10, 7))["top5"] == 0


def test_a_k_that_cannot_fail_is_not_reported() -> None:
    assert "top5" not in dict(accuracies(torch.zeros(3), [None] * 3, 5))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"classes": ["cat", "cat"], "templates": ["{}"]}, "'cat' is there twice"),
        ({"classes": ["cat"], "templates": ["a photo"]}, "'a photo' must hold one {}"),
        ({"classes": ["cat"]}, '"templates", a list'),
        ({"classes": [], "templates": ["{}"]}, '"classes", a list'),
        ({"classes": ["cat", 3], "templates": ["{}"]}, '"classes", a list'),
        (["cat"], '"classes", a list'),
    ],
)
def test_a_class_file_that_cannot_be_used_is_named(tmp_path: Path, content: object, words: str) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as refused:
        Classes.read(tmp_path)
    assert words in str(refused.value)
    assert "classes.json" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_class_files_are_read_by_file_or_folder(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    with pytest.raises(UserError, match="no such file"):
        Classes.read(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        Classes.read(path)
    path.write_text('{"classes": ["cat", "dog"], "templates": ["a {}"]}')
    assert Classes.read(path) == Classes.read(tmp_path) == Classes(names=("cat", "dog"), templates=("a {}",))
