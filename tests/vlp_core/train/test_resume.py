"""A run that goes on has all that it had: beside the weights, the twin, the queue and where in it the next rows go."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vlp_core.data.folders import write_images
from vlp_core.data.settings import Data
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.recipes.albef import ALBEF
from vlp_core.tracker import Silent
from vlp_core.train.loop import train_model
from vlp_core.train.settings import Train

ROWS, QUEUE = 4, 6
SMALL = ALBEF(picture=(32, 1, 2), text=(32, 1, 1, 2), patch=32, image_size=64, queue=QUEUE)
CAPTIONS = [f"picture {number} another name of" for number in range(7)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures, so that epochs end within steps, and word pieces."""
    folder = tmp_path_factory.mktemp("corpus")
    write_images(folder, [len(CAPTIONS)])
    train_word_pieces(CAPTIONS, 60).save(str(folder / WORDPIECE_FILE))
    return folder


def train(corpus: Path, out: Path, stage: int) -> Path:
    out.mkdir(exist_ok=True)
    steps = Train(
        steps=4, batch_size=ROWS, warmup=1, log_every=1, checkpoint_every=2, zero_stage=stage, gpu=False, threads=1
    )
    train_model(
        images=corpus,
        selection=None,
        recipe=SMALL,
        train=steps,
        data=Data(threads=1, prefetch=1),
        tokenizer=corpus / WORDPIECE_FILE,
        out=out,
        tracker=Silent(),
    )
    return out


def state(out: Path, step: int) -> dict[str, torch.Tensor]:
    """All of the system at that step: parameters, twins and queue."""
    file = out / "_checkpoints" / f"step-{step:08d}" / "deepspeed" / "mp_rank_00_model_states.pt"
    kept: dict[str, Any] = torch.load(file, weights_only=False)
    return kept["module"]


@pytest.mark.parametrize("stage", [0, 2])
def test_two_steps_and_two_more_are_four(stage: int, corpus: Path, tmp_path: Path) -> None:
    whole = train(corpus, tmp_path / "whole", stage)
    halves = tmp_path / "halves"
    shutil.copytree(whole / "_checkpoints" / "step-00000002", halves / "_checkpoints" / "step-00000002")
    (halves / "_checkpoints" / "latest").write_text("step-00000002")
    train(corpus, halves, stage)

    for name in ("model.safetensors", "curve.jsonl", "curve.png"):
        assert (halves / name).read_bytes() == (whole / name).read_bytes(), name
    before, expected, found = state(whole, 2), state(whole, 4), state(halves, 4)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())

    for part in ("twin.twin.text", "objectives.mlm.head_twin.twin", "objectives.itc.queue.images"):
        names = [name for name in expected if name.startswith(part)]
        assert names and any(not torch.equal(expected[name], before[name]) for name in names), f"{part} moved"
    queue = {name: expected[f"objectives.itc.queue.{name}"] for name in ("pushed", "images", "texts", "image_id")}
    assert queue["pushed"].item() == 4 * ROWS > QUEUE, "it has wrapped around, and its next rows go in its midst"
    assert all(row.norm() == pytest.approx(1, abs=1e-5) for row in (*queue["images"], *queue["texts"]))
