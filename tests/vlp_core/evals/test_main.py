"""The evaluators from the command line: the same scores, and one line for what cannot be read."""

import json
from pathlib import Path

import pytest

from tests.vlp_core.evals.builders import images_folder, model_folder, rows, system_folder
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.evals.__main__ import main
from vlp_core.evals.encoder import load_encoder
from vlp_core.evals.evaluators import Suite, score


def test_scores_are_printed_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_folder(tmp_path / "model", 0)
    folder = images_folder(tmp_path / "set", [rows(8)])
    assert main(["--model", str(model), "--retrieval", str(folder), "--draw", str(tmp_path)]) == 0
    suite = Suite.read(retrieval=folder, zero_shot=None, classes=None)
    assert json.loads(capsys.readouterr().out) == score(load_encoder(model), suite.evaluators())
    assert (tmp_path / "queries.png").exists()


def test_a_system_of_any_recipe_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = images_folder(tmp_path / "set", [rows(8)])
    train_word_pieces(["a red picture is grey"], 60).save(str(tmp_path / WORDPIECE_FILE))
    model = system_folder("virtex", tmp_path, tmp_path / "model")
    assert main(["--model", str(model), "--retrieval", str(folder)]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"captions/cider", "captions/bleu4"}


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "ViT-B-32:openai", "--retrieval", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
