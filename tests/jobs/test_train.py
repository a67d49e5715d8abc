import os
import signal
from dataclasses import replace

import pytest
import torch.distributed as dist

from jobs import train as stage
from tests.vlp_core.data.folders import write_images, write_selection
from tests.vlp_core.train.builders import SMALL, TRAIN
from tests.vlp_core.train.test_ranks import patience
from vlp_core.data.settings import Data
from vlp_core.errors import UserError
from vlp_core.tracker import Silent
from vlp_core.train.checkpoint import Checkpoints
from vlp_core.train.curve import read_points
from vlp_core.train.loop import train_model
from vlp_core.train.ranks import PATIENCE


class Deadly(Silent):
    """Writes down the steps it hears of, and kills the process that says step 6, once."""

    def __init__(self, path):
        self.path, self.warnings = path, []

    def warn(self, text):
        self.warnings.append(text)

    def metrics(self, values, *, step):
        if dist.is_initialized():
            self.path.with_name("patience").write_text(str(patience()))
        heard = self.path.read_text() if self.path.exists() else ""
        self.path.write_text(f"{heard}{step} {' '.join(sorted(values))}\n")
        if step == 6 and "6 " not in heard:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    uids = list(write_images(folder / "images", [12, 12]))
    return {
        "images": folder / "images",
        "selection": write_selection(folder / "selection", uids),
        "recipe": SMALL,
        "data": Data(threads=1),
    }


@pytest.fixture
def cut(corpus):
    """The same, for a model that reads less than its captions have."""
    return corpus | {"recipe": replace(SMALL, context=3)}


def test_two_ray_workers_train_what_the_library_trains_alone(cluster, cut, tmp_path):
    """Though one of them is killed; the tracker hears rank 0, and one rank can go on from what two have saved. That
    captions are cut is said once."""
    out, alone = tmp_path / "out", tmp_path / "alone"
    out.mkdir()
    alone.mkdir()
    journal = tmp_path / "journal"
    tracker = Deadly(journal)
    summary = stage.run(**cut, train=replace(TRAIN, workers=2), out=out, tracker=tracker)
    assert (tmp_path / "patience").read_text() == str(PATIENCE)
    said, warning = tracker.warnings
    assert said.startswith("100 % of the captions are longer than the 3 tokens that the model reads")
    assert warning.startswith("training stopped (ActorDiedError: The actor died")
    train_model(**cut, train=TRAIN, out=alone, tracker=Silent())

    def losses(folder):
        return [point["loss"] for point in read_points(folder)]

    assert losses(out) == pytest.approx(losses(alone), abs=1e-4)
    assert summary.counts == {
        "steps": TRAIN.steps,
        "samples": TRAIN.steps * TRAIN.batch_size,
        "loss": losses(out)[-1],
        "scale": read_points(out)[-1]["scale"],
    }
    assert all((out / picture).is_file() for picture in summary.pictures.values())
    names = "data_wait_share grad_norm loss lr samples_per_second scale"
    first, second = [f"{step} {names}" for step in (2, 4, 6)], [f"{step} {names}" for step in (4, 6, 8, 10, 12)]
    # killed at 6, before the checkpoint of step 6: the second start goes on from 3
    assert journal.read_text().splitlines() == ["0 captions_cut", *first, *second]

    for folder in (out, alone):
        train_model(**cut, train=replace(TRAIN, steps=18), out=folder, tracker=Silent())
    assert losses(out) == pytest.approx(losses(alone), abs=1e-4) and len(losses(out)) == 9


def test_what_a_worker_says_to_the_user_reaches_the_user(cluster, corpus, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"^--train\.start .*empty: neither a model nor a checkpoint is in it"):
        stage.run(**corpus, train=replace(TRAIN, start=(str(empty),)), out=tmp_path / "out", tracker=Silent())


@pytest.mark.parametrize("where", ["out", "previous"])
def test_the_curve_so_far_is_told_once(where, cluster, corpus, tmp_path, monkeypatch):
    """Before the workers start, however often they do: told by one of them, the others would wait for it."""
    from ray.exceptions import ActorDiedError
    from ray.train import WorkerGroupError

    def fit(work):
        raise WorkerGroupError("", {0: ActorDiedError()})

    done, journal = tmp_path / "done", tmp_path / "journal"
    done.mkdir()
    train_model(**corpus, train=replace(TRAIN, steps=4), out=done, tracker=Silent())
    folders = {"out": done} if where == "out" else {"out": tmp_path / "new", "previous": done}
    monkeypatch.setattr(stage, "_fit", fit)
    with pytest.raises(WorkerGroupError):
        stage.run(**corpus, **folders, train=TRAIN, tracker=Deadly(journal))
    assert journal.read_text().splitlines() == [f"{step} grad_norm loss lr scale" for step in (2, 4)]


LOST, OWN = "lost", "a fault"


@pytest.mark.parametrize(
    ("restarts", "fits", "starts"),
    [
        pytest.param(2, [(0, LOST)] * 9, 3, id="lost workers are replaced so many times"),
        pytest.param(2, [(0, LOST), (0, LOST), (2, LOST)] + [(0, LOST)] * 9, 5, id="anew once a checkpoint is gained"),
        pytest.param(2, [(0, OWN)] * 9, 2, id="a fault is tried once more"),
        pytest.param(2, [(1, OWN), (2, OWN)] + [(0, OWN)] * 9, 3, id="and again where a checkpoint was gained"),
        pytest.param(0, [(0, OWN)], 1, id="or not at all"),
    ],
)
def test_training_is_started_again_as_long_as_that_helps(
    restarts, fits, starts, cluster, corpus, tmp_path, monkeypatch
):
    """What each start gains (the step of a new checkpoint) and how it fails is given."""
    from ray.exceptions import ActorDiedError
    from ray.train import WorkerGroupError

    started = []

    def fit(work):
        started.append(work)
        gained, failure = fits[len(started) - 1]
        if gained:
            Checkpoints(tmp_path).partial(gained)
            Checkpoints(tmp_path).publish(gained, {})
        failures = {LOST: ActorDiedError(), OWN: ValueError(OWN)}
        raise WorkerGroupError("", {0: RuntimeError("Connection closed by peer"), 1: failures[failure]})

    monkeypatch.setattr(stage, "_fit", fit)
    with pytest.raises(WorkerGroupError):
        stage.run(**corpus, train=replace(TRAIN, restarts=restarts), out=tmp_path, tracker=Silent())
    assert len(started) == starts


def test_a_cluster_that_has_lost_a_node_is_said(cluster, corpus, tmp_path, monkeypatch):
    """It had room for 8 workers when the run began."""
    import ray

    had = iter([{"CPU": 8.0}] * 2)
    has = ray.cluster_resources
    monkeypatch.setattr(ray, "cluster_resources", lambda: next(had, None) or has())
    monkeypatch.setattr(stage, "START_TRIES", 1)
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "1")
    with pytest.raises(
        UserError, match=r"--train\.workers 8: each takes a CPU and the cluster has \d; give \d or fewer"
    ):
        stage.run(**corpus, train=replace(TRAIN, workers=8), out=tmp_path, tracker=Silent())


def test_room_that_others_take_is_waited_for_and_said(cluster, corpus, tmp_path, monkeypatch):
    """It is no failure, and does not count as one."""
    import ray
    from ray.train import ControllerError, WorkerGroupError

    failures = iter([ControllerError(RuntimeError("no start"))] * 2 + [WorkerGroupError("", {0: UserError("started")})])

    def fit(work):
        raise next(failures)

    monkeypatch.setattr(stage, "_fit", fit)
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
    tracker = Deadly(tmp_path / "journal")
    with pytest.raises(UserError, match="started"):
        stage.run(**corpus, train=replace(TRAIN, workers=4, restarts=0), out=tmp_path, tracker=tracker)
    assert tracker.warnings == ["training waits for 4 CPUs (free now: 1)"] * 2


def test_fewer_samples_than_a_batch_are_refused_before_workers_start(cluster, corpus, tmp_path):
    with pytest.raises(UserError, match="24 samples are fewer than one batch of 32"):
        stage.run(**corpus, train=replace(TRAIN, batch_size=32), out=tmp_path, tracker=Silent())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"workers": 8}, r"--train\.workers 8: each takes a CPU and the cluster has \d; give \d or fewer"),
        ({"gpu": True}, r"each takes a GPU and the cluster has 0; leave --train\.gpu out"),
    ],
)
def test_more_than_the_cluster_has_is_refused_instead_of_waited_for(cluster, corpus, tmp_path, changes, says):
    with pytest.raises(UserError, match=says):
        stage.run(**corpus, train=replace(TRAIN, **changes), out=tmp_path, tracker=Silent())
