"""A run that goes on has all that it had: beside the weights, the twin, the queue and where in it the next rows go."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vlp_core.data.folders import write_images
from vlp_core.data.settings import Data
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.model_folder import read_weights
from vlp_core.recipes import pixelbert
from vlp_core.recipes.albef import ALBEF
from vlp_core.tracker import Silent
from vlp_core.train.loop import train_model
from vlp_core.train.settings import Train

ROWS, QUEUE = 4, 6
SMALL = {
    "albef": ALBEF(picture=(32, 1, 2), text=(32, 1, 1, 2), patch=32, image_size=64, queue=QUEUE),
    "pixelbert": replace(pixelbert.TINY.system, image_size=32),
}
CAPTIONS = [f"picture {number} another name of" for number in range(7)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures, so that epochs end within steps, and word pieces."""
    folder = tmp_path_factory.mktemp("corpus")
    write_images(folder, [len(CAPTIONS)])
    train_word_pieces(CAPTIONS, 60).save(str(folder / WORDPIECE_FILE))
    return folder


def train(corpus: Path, out: Path, name: str, stage: int) -> Path:
    """Four steps, with a checkpoint after two."""
    out.mkdir(exist_ok=True)
    settings = Train(steps=4, batch_size=ROWS, warmup=1, log_every=1, checkpoint_every=2, weight_decay=1.0)
    train_model(
        images=corpus,
        selection=None,
        recipe=SMALL[name],
        train=replace(settings, zero_stage=stage, gpu=False, threads=1),
        data=Data(threads=1, prefetch=1),
        tokenizer=corpus / WORDPIECE_FILE,
        out=out,
        tracker=Silent(),
    )
    return out


def half(whole: Path, out: Path, *, ranks: int = 1) -> Path:
    """A run that ended after two of its steps; `ranks`: how many it says it had."""
    kept = out / "_checkpoints" / "step-00000002"
    shutil.copytree(whole / "_checkpoints" / kept.name, kept)
    (kept.parent / "latest").write_text(kept.name)
    state = json.loads((kept / "state.json").read_text())
    (kept / "state.json").write_text(json.dumps(state | {"ranks": ranks}))
    return out


def state(out: Path, step: int) -> dict[str, torch.Tensor]:
    """All of the system at that step: parameters, twins and queue."""
    file = out / "_checkpoints" / f"step-{step:08d}" / "deepspeed" / "mp_rank_00_model_states.pt"
    kept: dict[str, Any] = torch.load(file, weights_only=False)
    return kept["module"]


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(corpus, tmp_path_factory.mktemp("whole"), "albef", 2)


@pytest.mark.parametrize("ranks", [1, 2])
def test_with_a_twin_and_a_queue_two_steps_and_two_more_are_four(
    ranks: int, whole: Path, corpus: Path, tmp_path: Path
) -> None:
    """Under ZeRO, whose checkpoints are brought to another number of ranks by DeepSpeed; to the bit without that."""
    halves = train(corpus, half(whole, tmp_path / "halves", ranks=ranks), "albef", 2)

    before, expected, found = state(whole, 2), state(whole, 4), state(halves, 4)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=0 if ranks == 1 else 1e-6, rtol=0, msg=name)
    for name in ("model.safetensors", "curve.jsonl", "curve.png") if ranks == 1 else ():
        assert (halves / name).read_bytes() == (whole / name).read_bytes(), name
    for part in ("twin.twin.text", "twin.beside.0", "objectives.itc.queue.images"):
        names = [name for name in expected if name.startswith(part)]
        assert names and any(not torch.equal(expected[name], before[name]) for name in names), f"{part} moved"
    queue = {name: expected[f"objectives.itc.queue.{name}"] for name in ("pushed", "images", "texts")}
    assert queue["pushed"].item() == 4 * ROWS > QUEUE, "it has wrapped around, and its next rows go in its midst"
    assert all(row.norm() == pytest.approx(1, abs=1e-5) for row in (*queue["images"], *queue["texts"]))


def test_under_zero_3_statistics_weight_decay_and_steps_come_to_another_number_of_ranks(
    corpus: Path, tmp_path: Path
) -> None:
    whole = train(corpus, tmp_path / "whole", "pixelbert", 3)
    halves = train(corpus, half(whole, tmp_path / "halves", ranks=2), "pixelbert", 3)
    expected, found = read_weights(whole), read_weights(halves)
    assert any(name.endswith("running_var") for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0, msg=name)
