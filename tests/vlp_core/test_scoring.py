"""What two scores must have in common to be compared: the data, and for a fusion what it is asked about."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.vlp_core.evals.builders import images_folder, model_folder, rows
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.errors import UserError
from vlp_core.evals.evaluators import Suite
from vlp_core.evals.settings import Evaluate
from vlp_core.model_folder import write_folder
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.scoring import data_digest
from vlp_core.sizes import config_of


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    pictures = images_folder(tmp_path_factory.mktemp("sets") / "pictures", [rows(4)])
    return Suite.read(retrieval=pictures, zero_shot=None, classes=None)


def write_pieces(folder: Path, size: int) -> None:
    train_word_pieces(["a red picture", "picture of green pictures"], size).save(str(folder / WORDPIECE_FILE))


@pytest.mark.parametrize(
    ("name", "with_dual", "counts"),
    [
        ("clip", True, set()),
        ("virtex", True, set()),
        ("blip", True, {"candidates"}),
        ("albef", True, {"candidates", "tokens"}),
        ("vilt", False, {"matrix", "dual", "tokens"}),
        ("vilt", True, {"candidates", "dual", "tokens"}),
    ],
)
def test_a_digest_follows_what_decides_the_scores_of_a_system_and_nothing_else(
    name: str, with_dual: bool, counts: set[str], suite: Suite, tmp_path: Path
) -> None:
    model, dual = tmp_path / name, model_folder(tmp_path / "dual", 1)
    sizes = RECIPES[name].TINY.system
    described = sizes.build(None).described() if name == "clip" else {}
    model.mkdir()
    write_folder(model, {}, config_of(sizes) | described)
    write_pieces(model, 60)
    now = data_digest(model, suite, Evaluate(), dual=dual if with_dual else None)
    others = {
        "candidates": data_digest(model, suite, Evaluate(candidates=5), dual=dual if with_dual else None),
        "matrix": data_digest(model, suite, Evaluate(matrix=50), dual=dual if with_dual else None),
        "dual": data_digest(model, suite, Evaluate(), dual=None if with_dual else dual),
    }
    others["precision"] = data_digest(model, suite, Evaluate(precision="bf16"), dual=dual if with_dual else None)
    write_pieces(model, 40)
    others["tokens"] = data_digest(model, suite, Evaluate(), dual=dual if with_dual else None)
    write_pieces(model, 60)
    assert {what for what, digest in others.items() if digest != now} == counts | {"precision"}
    assert data_digest(model, suite, Evaluate(batch_size=3, queries=2), dual=dual if with_dual else None) == now


def test_a_dual_encoder_is_known_by_its_weights_wherever_and_in_whatever_form_they_lie(
    suite: Suite, tmp_path: Path
) -> None:
    model = tmp_path / "vilt"
    model.mkdir()
    write_folder(model, {}, config_of(RECIPES["vilt"].TINY.system))
    write_pieces(model, 60)
    first, second = (model_folder(tmp_path / f"run:{seed}", seed) for seed in (1, 2))
    (binary := tmp_path / "binary").mkdir()
    torch.save(load_file(first / "model.safetensors"), binary / "open_clip_pytorch_model.bin")
    shutil.copytree(first, tmp_path / "copy")

    def digest(dual: Path | str) -> str:
        return data_digest(model, suite, Evaluate(), dual=dual)

    assert digest(first) == digest(tmp_path / "copy") == digest(f"local-dir:{first}")
    assert digest(first) == digest(f"ViT-B-32:{first / 'model.safetensors'}")
    assert len({digest(first), digest(second), digest(binary)}) == 3
    with pytest.raises(UserError, match="holds no weights"):
        digest(tmp_path)
