"""Which model scores: known by what it is, refused before anything is made where it cannot."""

import shutil
from pathlib import Path

import pytest
import torch

from jobs import score
from jobs.model_card import Sources, read_json, write_export
from pipelines.workflow.outside import Digests
from pipelines.workflow.step import identify, outside_paths, resolve, step
from tests.vlp_core.evals.builders import model_folder, system_folder
from vlp_core.curation.score_settings import Score, Scorer
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.errors import UserError
from vlp_core.scorer import scorer_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("scorer") / "model", 3)


def fingerprint(scorer: Scorer, memory: Path) -> str:
    made = step("score", score.run, images=Path(__file__), scorer=scorer, score=Score())
    return identify(made, lambda _: {}, Digests(memory / "digests.json").of).fingerprint


def test_equal_weights_elsewhere_are_one_scorer_and_others_are_not(folder: Path, tmp_path: Path) -> None:
    """A model folder, a copy of it under another name, and the export that is registered of it."""
    shutil.copytree(folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "notes.txt").write_text("its curve, its card")
    sources = Sources(name="clip", config=read_json(folder / "config.json"), selection={}, scores={}, data_digest="d")
    write_export(tmp_path / "export", folder, sources)
    places = [folder, tmp_path / "elsewhere", tmp_path / "export"]
    assert len({fingerprint(scorer_of(str(place)), tmp_path) for place in places}) == 1
    other = fingerprint(scorer_of(str(model_folder(tmp_path / "other", 4))), tmp_path)
    assert other != fingerprint(scorer_of(str(folder)), tmp_path)


def test_a_checkpoint_counts_by_its_architecture_and_its_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    torch.save({"a": torch.zeros(3)}, one)
    shutil.copy(one, two)
    specs = [f"ViT-B-32:{one}", f"ViT-B-32:{two}", f"ViT-B-16:{one}"]
    first, moved, other = (fingerprint(scorer_of(spec), tmp_path) for spec in specs)
    assert first == moved != other
    scorer = scorer_of(specs[0])
    assert outside_paths(scorer) == [one] and resolve(scorer, lambda _: tmp_path).place == specs[0]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("{folder}/vilt", "a vilt has no two towers"),
        ("{folder}/empty", "empty: no model"),
        ("{folder}/bare", "bare: holds no weights"),
        ("{folder}/gone", "no such model folder"),
        ("ViT-B-32:{folder}/text.pt", "text.pt: no checkpoint"),
        ("ViT-B-32:{folder}/text.safetensors", "text.safetensors: no checkpoint"),
        ("ViT-B-32:{folder}/gone.pt", "no local file"),
        ("ViT-B-33:{folder}/text.pt", "did you mean 'ViT-B-32'"),
    ],
)
def test_what_cannot_score_is_one_line(spec: str, says: str, folder: Path, tmp_path: Path) -> None:
    if "vilt" in spec:
        train_word_pieces(["a red picture", "picture of green pictures"], 60).save(str(tmp_path / WORDPIECE_FILE))
        system_folder("vilt", tmp_path, tmp_path / "vilt")
    (tmp_path / "empty").mkdir()
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("<html>not found</html>")
    with pytest.raises(UserError) as refused:
        scorer_of(spec.format(folder=tmp_path))
    assert says in str(refused.value) and "\n" not in str(refused.value)
