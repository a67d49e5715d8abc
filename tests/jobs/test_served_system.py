"""A system in the registry answers as the library does, and its card says what it is and how it is loaded."""

import base64
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from jobs import register
from tests.vlp_core.evals.builders import picture
from vlp_core.capfilt import match_odds
from vlp_core.data.tokens import WORDPIECE_FILE, tokenizer_of, train_word_pieces
from vlp_core.evals.reader import Reader
from vlp_core.evals.settings import Evaluate, Register
from vlp_core.generate import generate
from vlp_core.load import load_system, sizes_of
from vlp_core.model_folder import read_weights, write_folder
from vlp_core.recipes.albef import ALBEF
from vlp_core.recipes.coca import CoCa
from vlp_core.recipes.vilt import ViLT
from vlp_core.sizes import SystemSizes, config_of
from vlp_core.tracker import Silent
from vlp_core.train.trained_on import FILE as TRAINED_ON_FILE

DIGEST = "5e1ec7" + "0" * 58
BODIES = [picture((200, 30, 30), 1), picture((20, 30, 230), 2), picture((30, 180, 40), 3)]
TEXTS = ["a red picture", "blue", "something else"]
SYSTEMS: dict[str, SystemSizes] = {
    "albef": ALBEF(picture=(32, 1, 2), text=(32, 1, 1, 2), patch=16, image_size=32, queue=4),
    "coca": CoCa(picture=(32, 1, 2), text=(32, 1, 2), pool=(3, 2), patch=16, image_size=32, tokenizer="wordpiece"),
    "vilt": ViLT(trunk=(32, 1, 2), patch=16, image_size=32),
}


def model_folder(sizes: SystemSizes, out: Path) -> Path:
    """An untrained system whose answers are not all alike."""
    torch.manual_seed(0)
    out.mkdir()
    train_word_pieces(TEXTS, 60).save(str(out / WORDPIECE_FILE))
    config = config_of(sizes)
    system = sizes.build(tokenizer_of(config["tokenizer"], out).vocabulary)
    for parameter in system.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    write_folder(out, system.finished(), config)
    return out


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The exports by name, each registered under it, in a store of their own."""
    root = tmp_path_factory.mktemp("registry")
    (root / "selection.json").write_text(json.dumps({"digest": DIGEST, "rows": 3, "captions": 3}))
    (root / "scores.json").write_text(
        json.dumps({"captions/cider": 0.5, "captions/bleu4": 0.25, "data_digest": "da7a"})
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    patch.setattr(sys, "path", list(sys.path))  # MLflow puts the library that lies beside each model first
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = MlflowClient()
    experiment = client.create_experiment("pretrain", artifact_location=(root / "artifacts").as_uri())
    exports = {}
    for name, sizes in SYSTEMS.items():
        patch.setenv("MLFLOW_RUN_ID", client.create_run(experiment).info.run_id)
        out = root / f"out-{name}"
        out.mkdir()
        model, settings = model_folder(sizes, root / name), Register(name=name)
        register.run(model=model, scores=root, selection=root, register=settings, out=out, tracker=Silent())
        exports[name] = out / "export"
    yield exports
    mlflow.set_tracking_uri(before)
    patch.undo()


@torch.inference_mode()
def by_the_library(export: Path, texts: list[str], bodies: list[bytes]) -> dict[str, list[Any]]:
    """All that a system may be asked, of each text with the picture beside it."""
    system, tokenizer, config = load_system(export)
    reader = Reader.of(system, tokenizer, config["preprocess"], Evaluate(), name="here")
    pixels, tokens = reader.pixels(bodies), tokenizer(texts)
    answers: dict[str, list[Any]] = {}
    if system.compares:
        answers["text_embedding"] = reader.model.encode_text(tokens).tolist()
        answers["image_embedding"] = reader.model.encode_image(reader.model.normalise(pixels)).tolist()
    if "itm" in system.objectives:
        odds = match_odds(system, pixels, tokens, torch.arange(len(texts)))
        half = math.log(1 / 2) if "itc" in system.objectives else 0.0  # what hard negatives taught it
        answers["match"] = (odds - half).sigmoid().tolist()
    if "caption" in system.objectives:
        answers["caption"] = [tokenizer.text(row) for row in generate(system, pixels).tolist()]
    return answers


def served(name: str) -> Callable[[dict[str, list[Any]]], pd.DataFrame]:
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    return lambda columns: model.predict(pd.DataFrame(columns))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """To 1e-5, where they are numbers."""
    if isinstance(expected[0], str):
        assert found == expected
    else:
        numbers = (torch.tensor(values, dtype=torch.float64) for values in (found, expected))
        torch.testing.assert_close(*numbers, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("albef", {"text_embedding", "image_embedding", "match"}),
        ("coca", {"text_embedding", "image_embedding", "caption"}),
        ("vilt", {"match"}),
    ],
)
def test_the_registered_system_says_what_the_library_says(
    name: str, says: set[str], registered: dict[str, Path]
) -> None:
    """Also of pictures in base64; and nothing of a text or a picture that is missing."""
    answer, expected = served(name), by_the_library(registered[name], TEXTS, BODIES)
    assert set(expected) == says
    coded = base64.b64encode(BODIES[1]).decode()
    whole = answer({"text": TEXTS, "image": [BODIES[0], coded, BODIES[2]]})
    some = answer({"text": [TEXTS[0], None, TEXTS[2]], "image": [BODIES[0], coded, None]})
    assert set(whole.columns) == set(some.columns) == says
    there = {"text_embedding": [0, 2], "image_embedding": [0, 1], "match": [0], "caption": [0, 1]}
    for column, values in expected.items():
        assert_same(whole[column].tolist(), values)
        assert_same([some[column][row] for row in there[column]], [values[row] for row in there[column]])
        assert some[column].isna().tolist() == [row not in there[column] for row in range(3)]


def test_of_one_column_it_says_what_it_can_and_refuses_what_it_cannot(registered: dict[str, Path]) -> None:
    assert set(served("albef")({"text": TEXTS})) == {"text_embedding"}
    assert set(served("coca")({"image": BODIES})) == {"image_embedding", "caption"}
    with pytest.raises(ValueError, match="it matches a 'text' with an 'image'"):
        served("vilt")({"text": TEXTS})
    with pytest.raises(Exception, match="give a column 'text', 'image' or both"):
        served("albef")({"caption": TEXTS})


def test_the_card_says_recipe_data_and_scores_and_its_code_loads_the_export(registered: dict[str, Path]) -> None:
    for name, export in registered.items():
        card = (export / "README.md").read_text()
        assert f"tags:\n- {name}\n---\n\n# {name}\n" in card and f"recipe `{name}`" in card
        assert f"| digest | {DIGEST} |" in card and "| image_size | 32 |" in card
        assert "| captions/cider | 0.5000 |" in card and "`da7a`" in card
    code = card.split("```python\n")[1].split("```")[0]
    loaded: dict[str, Any] = {}
    exec(code.replace("PATH/TO/THIS/FOLDER", str(export)), loaded)
    assert sizes_of(loaded["config"]) == SYSTEMS[name] and not loaded["system"].training


def test_an_export_holds_all_that_the_system_needs_and_no_twin_or_queue(registered: dict[str, Path]) -> None:
    files = {"README.md", "config.json", "model.safetensors", WORDPIECE_FILE, TRAINED_ON_FILE}
    assert {file.name for file in registered["albef"].iterdir()} == files
    names = [*read_weights(registered["albef"]), *load_system(registered["albef"])[0].state_dict()]
    assert names and not [name for name in names if "twin" in name or "queue" in name]


def test_the_library_lies_beside_the_registered_model(registered: dict[str, Path]) -> None:
    """For whoever loads it where it is not installed."""
    folder = Path(mlflow.artifacts.download_artifacts("models:/vilt@champion"))
    assert (folder / "code" / "vlp_core" / "recipes" / "vilt.py").is_file()
