"""What a model says of the selections that it, and whatever it was started from, was trained on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.model_card import Sources, write_export
from tests.vlp_core.data.folders import write_images, write_selection
from tests.vlp_core.train.builders import SMALL, TRAIN, config
from vlp_core.data.settings import Data
from vlp_core.tracker import Silent
from vlp_core.train.loop import train_model
from vlp_core.train.trained_on import (
    FILE,
    digest_of_selection,
    selections_in,
    selections_of,
    selections_of_start,
    start_tags,
    write_selections,
)

FIRST, SECOND, THIRD = (digit * 64 for digit in "abc")


def selection_at(folder, uids, digest):
    """As the stage writes it; gives the folder."""
    write_selection(folder, uids)
    (folder / "selection.json").write_text(json.dumps({"digest": digest}))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return folder, list(write_images(folder, [9]))


@pytest.fixture
def trained(images, tmp_path):
    """Trains for a step, or more, on a selection of that digest; gives the folder."""

    def run(name, digest, *start, previous=None, steps=1):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        train_model(
            images=images[0],
            selection=selection_at(tmp_path / digest, images[1], digest),
            recipe=SMALL,
            train=replace(TRAIN, steps=steps, log_every=1, start=tuple(map(str, start))),
            data=Data(threads=1),
            out=out,
            tracker=Silent(),
            previous=previous,
        )
        return out

    return run


def test_a_model_has_what_it_was_trained_on_from_its_start_and_from_all_before_that(trained, tmp_path):
    """From a folder or a checkpoint; what goes on from a checkpoint has it though the start is gone. A run without a
    start is called what it ever was."""
    first = trained("first", FIRST)
    second = trained("second", SECOND, first)
    assert (selections_of(first), selections_of(second)) == ((FIRST,), (SECOND, FIRST))
    assert json.loads((first / "config.json").read_text()).keys() == config().keys()
    assert FILE.startswith("_"), "records of results do not have it"
    (tmp_path / "checkpoints").mkdir()
    shutil.move(second / "_checkpoints", tmp_path / "checkpoints")
    third = trained("third", THIRD, tmp_path / "checkpoints")
    for folder in (first, second, tmp_path / "checkpoints"):
        shutil.rmtree(folder)
    (third / FILE).unlink()
    assert selections_of(trained("third", THIRD, steps=2)) == (THIRD, SECOND, FIRST)
    assert selections_of(trained("longer", THIRD, previous=third, steps=3)) == (THIRD, SECOND, FIRST)


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text(json.dumps(config()))
    return folder


def export(folder: Path, start: tuple[str, ...] = (), *, lacks: str = "") -> Path:
    told = {key: value for key, value in config().items() if key != lacks}
    chosen = {"digest": SECOND, "rows": 2}
    made_of = Sources(name="clip", config=told, selection=chosen, scores={}, data_digest=THIRD, start=start)
    write_export(folder, model(folder.with_name("model")), made_of)
    return folder


def said(folder):
    write_selections(model(folder), (SECOND, FIRST))
    return folder


def older_export(folder):
    (export(folder) / FILE).unlink()
    return folder


def older_result(folder):
    """A result, whose selection is that of its root."""
    selection_at(folder / "select" / "0", ["0"], SECOND)
    result = model(folder / "train" / "0")
    (result / "_RUN.json").write_text(json.dumps({"inputs": ["download/0", "select/0", "shard/0"]}))
    return result


def older_checkpoint(folder):
    checkpoint = older_result(folder) / "_checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text(json.dumps({"step": 1}))
    return checkpoint


def damaged(folder):
    (model(folder) / FILE).write_text("[]")
    (folder / "_RUN.json").write_text('{"inputs": 1}')
    return folder


BOTH = (SECOND, FIRST)


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (said, BOTH),
        (lambda folder: said(folder) / "model.safetensors", BOTH),
        (lambda folder: export(folder, (FIRST,)), BOTH),
        (lambda folder: export(folder, (FIRST,)) / "open_clip_model.safetensors", BOTH),
        (lambda folder: export(folder, (FIRST,), lacks="open_clip"), BOTH),
        (older_export, (SECOND,)),
        (older_result, (SECOND,)),
        (older_checkpoint, (SECOND,)),
        (model, ()),
        (damaged, ()),
    ],
    ids=["model", "weights", "export", "file", "system", "older export", "older result", "older", "foreign", "damaged"],
)
def test_what_a_start_was_trained_on_is_known_wherever_that_stands(make, known, tmp_path):
    """However a start is named; and once, where two are of the same."""
    start = make(tmp_path / "start")
    for words in ([f"{start}"], [f"image={start}", f"text={start}"], [f"image=ViT-B-32:{start}", "text=timm:some"]):
        assert selections_of_start(words) == known


def test_the_card_of_an_export_says_what_its_start_was_trained_on(tmp_path):
    plain, started = (
        (export(tmp_path / name / "export", start) / "README.md").read_text()
        for name, start in (("plain", ()), ("started", (FIRST, THIRD)))
    )
    told = f"\nIt was started from what was trained on the selections `{FIRST}`, `{THIRD}`.\n"
    assert told in started and started.replace(told, "") == plain


def test_a_selection_is_known_by_its_folder_or_file_and_none_that_is_anothers(tmp_path):
    folder = selection_at(tmp_path / "select", ["0"], FIRST)
    (folder / "other.parquet").write_bytes((folder / "selection.parquet").read_bytes())
    given = [folder, folder / "selection.parquet", folder / "other.parquet", tmp_path, None]
    assert [digest_of_selection(selection) for selection in given] == [FIRST, FIRST, None, None, None]


@pytest.mark.parametrize("length", [0, 1, 75, 76, 400])
def test_a_chain_of_any_length_is_in_tags_that_every_store_takes(length):
    start = tuple(f"{number:064x}" for number in range(length))
    tags = start_tags(start)
    assert selections_in({"selection_digest": FIRST, "metric": "m", **tags}) == (FIRST, *start)
    assert all(len(value) <= 5_000 for value in tags.values())
