"""What one recipe has trained is not another's to start from, and is called by its name."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.vlp_core.data.folders import write_images
from vlp_core.data.settings import Data
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.errors import UserError
from vlp_core.load import load_system
from vlp_core.model_folder import write_folder
from vlp_core.recipes.catalogue import RECIPES, recipe_of
from vlp_core.recipes.vilt import ViLT
from vlp_core.sizes import SystemSizes, config_of, outline
from vlp_core.tracker import Silent
from vlp_core.train.loop import train_model
from vlp_core.train.settings import Train
from vlp_core.train.start import load_start

NEXT = dict(zip(RECIPES, [*list(RECIPES)[1:], *list(RECIPES)[:1]], strict=True))
SMALL = ViLT(trunk=(32, 1, 2), patch=32, image_size=64)


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_of_another_recipe_is_refused_by_name(name: str, tmp_path: Path) -> None:
    other = NEXT[name]
    write_folder(tmp_path, {}, config_of(RECIPES[other].TINY.system))
    system = outline(RECIPES[name].TINY.system)
    with pytest.raises(UserError, match=f"this is a {other}, and a {name} is trained") as error:
        load_start(system, (str(tmp_path),), name, torch.device("cpu"))
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_images(folder, [6])
    train_word_pieces(["picture another name of"], 60).save(str(folder / WORDPIECE_FILE))
    return folder


def train(corpus: Path, out: Path, sizes: SystemSizes, start: tuple[str, ...] = ()) -> Path:
    out.mkdir(exist_ok=True)
    train_model(
        images=corpus,
        selection=None,
        recipe=sizes,
        train=Train(steps=1, batch_size=2, log_every=1, gpu=False, threads=1, start=start),
        data=Data(threads=1, prefetch=1),
        tokenizer=corpus / WORDPIECE_FILE,
        out=out,
        tracker=Silent(),
    )
    return out


@pytest.fixture(scope="module")
def vilt(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(corpus, tmp_path_factory.mktemp("vilt"), SMALL)


@pytest.mark.parametrize("what", ["model", "run", "checkpoint"])
def test_what_a_vilt_has_trained_is_a_start_for_a_vilt_of_its_sizes_alone(
    what: str, vilt: Path, corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(vilt / "_checkpoints", tmp_path / "run" / "_checkpoints")
    places = {"model": vilt, "run": tmp_path / "run", "checkpoint": vilt / "_checkpoints" / "step-00000001"}
    train(corpus, tmp_path / "same", SMALL, (str(places[what]),))
    for sizes, says in (
        (RECIPES["ufo"].TINY.system, "this is a vilt, and a ufo is trained"),
        (replace(SMALL, trunk=(48, 1, 2)), r"has other sizes; give its own \(--model.trunk 32 1 2\)"),
    ):
        with pytest.raises(UserError, match=says):
            train(corpus, tmp_path / "other", sizes, (str(places[what]),))


def test_a_run_of_another_recipe_is_not_gone_on_with(vilt: Path, corpus: Path) -> None:
    with pytest.raises(UserError, match=r"was made with recipe\.name vilt, not ufo"):
        train(corpus, vilt, RECIPES["ufo"].TINY.system)


@pytest.mark.parametrize(("name", "near"), [("ViLT", "vilt"), ("Pixel-BERT", "pixelbert")])
def test_a_recipe_as_its_paper_writes_it_is_told_the_name_it_has_here(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"^{name}: no such recipe; did you mean '{near}'"):
        recipe_of(name)


def test_a_folder_of_a_recipe_that_is_not_known_is_refused_by_its_name(
    vilt: Path, corpus: Path, tmp_path: Path
) -> None:
    config = config_of(SMALL)
    write_folder(tmp_path, {}, config | {"recipe": config["recipe"] | {"name": "vilbert"}})
    train_word_pieces(["a"], 40).save(str(tmp_path / WORDPIECE_FILE))
    with pytest.raises(UserError, match="vilbert: no such recipe"):
        load_system(tmp_path)
