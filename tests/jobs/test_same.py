"""Arms that turn out to select the same: told once, and nothing is trained for the second."""

import json
from pathlib import Path

import pytest

from jobs import same, trial
from tests.jobs.listening import Listening
from tests.vlp_core.train.builders import SMALL, TRAIN
from vlp_core.data.settings import Data
from vlp_core.errors import UserError
from vlp_core.evals.settings import Evaluate
from vlp_core.tracker import Silent


def select(folder: Path, digest: str, **others: int) -> Path:
    folder.mkdir()
    (folder / "selection.json").write_text(json.dumps({"digest": digest, "removed": others}))
    return folder


def test_an_arm_that_selects_what_one_before_it_does_trains_nothing(tmp_path: Path) -> None:
    one, other = select(tmp_path / "one", "a", rules=3), select(tmp_path / "other", "b")
    twin = select(tmp_path / "twin", "a", rules=2, copies=1)
    tracker = Listening()
    for folder in ("told", "training", "alone"):
        (tmp_path / folder).mkdir()
    same.run(selection=twin, earlier=(other, one), names=("o", "x"), out=tmp_path / "told", tracker=tracker)
    assert tracker.warnings == ["same selection as x, whose trials count for both, once"]
    assert json.loads((tmp_path / "told/same.json").read_text()) == {"arm": "x"}
    given = {"images": tmp_path, "recipe": SMALL, "train": TRAIN, "data": Data(), "evaluate": Evaluate()}
    training = tmp_path / "training"
    trial.run(**given, selection=twin, same=tmp_path / "told", out=training, tracker=Silent())
    assert not list(training.iterdir())
    # an arm of its own is told nothing, whoever stands beside it: no other arm changes what its trials depend on
    for earlier in ((one,), (one, twin)):
        names = ("x", "y")[: len(earlier)]
        same.run(selection=other, earlier=earlier, names=names, out=tmp_path / "alone", tracker=tracker)
        assert (tmp_path / "alone/same.json").read_bytes() == b'{"arm": null}\n'
    assert len(tracker.warnings) == 1
    with pytest.raises(UserError, match="not a readable selection"):  # this one would be trained
        trial.run(**given, selection=other, same=tmp_path / "alone", out=training, tracker=Silent())
