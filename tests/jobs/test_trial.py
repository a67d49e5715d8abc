"""A trial: what the library trains and scores alone, however often its worker is lost."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jobs import evaluate, trial
from tests.vlp_core.data.folders import write_images, write_selection
from tests.vlp_core.train.builders import SMALL, TRAIN
from vlp_core.data.settings import Data
from vlp_core.evals.settings import Evaluate
from vlp_core.model_folder import read_weights
from vlp_core.tracker import Silent
from vlp_core.train.curve import read_points
from vlp_core.train.loop import train_model


class Deadly(Silent):
    """Writes down the steps it hears of, and kills the process that says step 6, once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:  # noqa: ARG002
        heard = self.path.read_text().split() if self.path.exists() else []
        self.path.write_text(" ".join([*heard, str(step)]))
        if step == 6 and "6" not in heard:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_is_trained_and_scored_as_alone_though_its_worker_is_killed(cluster: str, tmp_path: Path) -> None:
    uids = list(write_images(tmp_path / "images", [12, 12]))
    selection = write_selection(tmp_path / "selection", uids[:16])
    write_images(tmp_path / "retrieval", [9], first=100)
    out, alone = tmp_path / "out", tmp_path / "alone"
    for folder in (out, alone):
        folder.mkdir()
    given = {"images": tmp_path / "images", "selection": selection, "recipe": SMALL, "data": Data(threads=1)}
    summary = trial.run(
        **given,
        train=replace(TRAIN, threads=0),
        retrieval=tmp_path / "retrieval",
        evaluate=Evaluate(),
        out=out,
        tracker=Deadly(tmp_path / "journal"),
    )
    # killed at 6, before the checkpoint of step 6: the second worker tells the curve so far and goes on from 3
    assert (tmp_path / "journal").read_text().split() == ["2", "4", "6", "2", "4", "6", "8", "10", "12"]
    train_model(**given, train=TRAIN, out=alone, tracker=Silent())
    for one, other in zip(read_points(out), read_points(alone), strict=True):
        assert one == pytest.approx(other, rel=1e-3)  # another process, another number of threads
    torch.testing.assert_close(read_weights(out), read_weights(alone), atol=1e-3, rtol=1e-3)
    scores, digest = evaluate.score(
        evaluate.Work(
            model=alone,
            retrieval=tmp_path / "retrieval",
            zero_shot=None,
            classes=None,
            dual=None,
            evaluate=Evaluate(threads=1),
        )
    )
    assert summary.counts == scores == evaluate.read_scores(out)
    assert json.loads((out / "scores.json").read_text())["data_digest"] == digest
