import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from tests.vlp_core.data.folders import write_images, write_selection
from tests.vlp_core.train.builders import SMALL, TRAIN, system
from vlp_core.data.samples import Samples
from vlp_core.data.settings import Data
from vlp_core.dual_encoder import load_dual_encoder
from vlp_core.errors import UserError
from vlp_core.identity import key_of
from vlp_core.tracker import Silent
from vlp_core.train import loop
from vlp_core.train.curve import read_points
from vlp_core.train.loop import train_model
from vlp_core.train.start import load_start

FLAGS = [
    *("--model.image-size", "32", "--model.tower", "vit", "--model.vision-width", "64", "--model.vision-layers", "1"),
    *("--model.text-width", "32", "--model.text-layers", "1", "--model.text-heads", "1"),
    *("--model.embed-dim", "32", "--model.context", "8"),
    *("--train.batch-size", "8", "--train.warmup", "3", "--train.log-every", "2", "--train.checkpoint-every", "3"),
    *("--train.lr", "1e-3", "--train.threads", "1", "--train.gpu", "False"),
]
RECORD = ("model.safetensors", "config.json", "curve.jsonl", "curve.png")


class Listener(Silent):
    def __init__(self):
        self.points, self.done, self.warnings = [], [], []

    def metrics(self, values, *, step):
        self.points.append((step, dict(values)))

    def progress(self, done, total, **_):
        self.done.append((done, total))

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """21 pictures in two shards, 20 of them selected."""
    folder = tmp_path_factory.mktemp("corpus")
    uids = list(write_images(folder / "images", [11, 10]))
    return folder / "images", write_selection(folder / "selection", uids[:20])


@pytest.fixture
def train(corpus, tmp_path):
    """Train into a folder by name with changed settings; gives the folder."""

    def run(name, *, recipe=SMALL, tracker=None, previous=None, data=None, **changes):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        images, selection = corpus
        train_model(
            images=images,
            selection=selection,
            recipe=recipe,
            train=replace(TRAIN, **changes),
            data=data or Data(threads=1),
            out=out,
            tracker=tracker or Silent(),
            previous=previous,
        )
        return out

    return run


def start(corpus, out, *more, ranks=1):
    images, selection = corpus
    module = ["-m", "vlp_core.train", "--images", str(images), "--selection", str(selection), "--out", str(out)]
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        launch += ["--nproc-per-node", str(ranks)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launch, *module, *FLAGS, *more], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def assert_equal_records(one, other):
    for name in RECORD:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def step_reached(out):
    latest = out / "_checkpoints" / "latest"
    return int(latest.read_text().removeprefix("step-")) if latest.exists() else 0


def continued_from(out):
    return json.loads((out / "_CONTINUED.json").read_text())["continued_from"]


def test_a_killed_run_ends_as_one_that_was_never_killed(train, corpus, tmp_path):
    """kill -9 between two points of the curve and two checkpoints; the second start goes on, byte for byte."""
    steps = 60
    whole = train("whole", steps=steps, checkpoint_every=20)
    killed = tmp_path / "killed"
    process = start(corpus, killed, "--train.steps", str(steps))
    while step_reached(killed) < 6 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.communicate()
    process.communicate()
    reached = step_reached(killed)
    assert 6 <= reached < steps and not (killed / "model.safetensors").exists()

    again = start(corpus, killed, "--train.steps", str(steps))
    said, _ = again.communicate()
    assert again.returncode == 0
    points = [(int(line.split("/")[0].removeprefix("step ")), line) for line in said.splitlines()]
    assert [step for step, _ in points] == list(range(TRAIN.log_every, steps + 1, TRAIN.log_every)), "the whole curve"
    first_point = next(step for step, line in points if "samples_per_second" in line)  # trained now, not told again
    assert reached < first_point <= reached + TRAIN.log_every, "went on at the checkpoint, not at the beginning"
    assert_equal_records(whole, killed)


def test_a_finished_run_is_carried_on_with_more_steps(train):
    """The points so far stay; the rest is what a run with those steps does from there; the old result is untouched."""
    short = train("short", steps=6)
    before = {path: path.read_bytes() for path in short.rglob("*") if path.is_file()}
    assert continued_from(short) is None
    long = train("long", steps=12, previous=short)
    points = read_points(long)
    assert points[:3] == read_points(short) and [point["step"] for point in points] == [2, 4, 6, 8, 10, 12]
    assert points[3]["lr"] > points[2]["lr"], "the schedule is that of the longer run"
    assert before == {path: path.read_bytes() for path in short.rglob("*") if path.is_file()}
    assert continued_from(long) == "short"
    train("long", steps=12)
    assert continued_from(long) == "short", "resuming changes nothing of what the run began with"
    assert_equal_records(long, train("short", steps=12))  # in place


def test_an_earlier_result_without_a_whole_checkpoint_is_said_to_be_of_no_use(train):
    short, listener = train("short", steps=6), Listener()
    shutil.rmtree(short / "_checkpoints")
    long = train("long", previous=short, tracker=listener)
    assert "short: has no checkpoint to go on from" in listener.warnings[0]
    assert continued_from(long) is None
    assert_equal_records(long, train("whole"))


def test_a_finished_run_started_again_changes_nothing(train):
    once = train("once")
    before = {name: (once / name).read_bytes() for name in RECORD}
    train("once")
    assert before == {name: (once / name).read_bytes() for name in RECORD}


def test_what_only_changes_how_leaves_the_result_alone(train):
    assert_equal_records(train("one"), train("other", checkpoint_every=5, keep=1, data=Data(threads=2, prefetch=1)))


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(train):
    whole = train("whole", steps=9)
    hurt = train("hurt", steps=6)
    states = hurt / "_checkpoints" / "step-00000006" / "deepspeed" / "mp_rank_00_model_states.pt"
    states.write_bytes(b"X" + states.read_bytes()[1:])
    # steps=9 from step 3: the schedule of the first three steps is all that may differ, and warm-up is the same
    listener = Listener()
    train("hurt", steps=9, tracker=listener)
    assert "step-00000006: damaged" in listener.warnings[0]
    assert_equal_records(whole, hurt)


def test_torchrun_with_two_ranks_is_gone_on_from_with_one(train, corpus, tmp_path):
    """Under ZeRO, whose state is cut by ranks: the curve is that of one rank, to the order in which sums are taken."""
    out = tmp_path / "ranks"
    process = start(corpus, out, "--train.steps", "6", "--train.zero-stage", "2", ranks=2)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert json.loads((out / "_checkpoints" / "step-00000006" / "state.json").read_text())["ranks"] == 2
    train("ranks", steps=12, zero_stage=2, checkpoint_every=100)
    assert not list((out / "_checkpoints").glob(".*")), "what was made to go on with another number of ranks is gone"
    alone = train("alone", steps=12, previous=train("alone", steps=6, zero_stage=2), zero_stage=2)
    losses, expected = ([point["loss"] for point in read_points(folder)] for folder in (out, alone))
    assert losses == pytest.approx(expected, abs=1e-4)


def test_the_tracker_hears_of_points_progress_and_captions_that_are_cut(train):
    listener = Listener()
    out = train("heard", tracker=listener, recipe=replace(SMALL, context=3))
    assert listener.points.pop(0) == (0, {"captions_cut": 1.0})
    assert [line[: line.index(":")] for line in listener.warnings] == [
        "100 % of the captions are longer than the 3 tokens that the model reads, and are cut"
    ]
    steps = [step for step, _ in listener.points]
    assert steps == [point["step"] for point in read_points(out)] == list(range(2, TRAIN.steps + 1, 2))
    for (_, heard), point in zip(listener.points, read_points(out), strict=True):
        assert {name: heard[name] for name in ("loss", "scale", "lr", "grad_norm")} == {
            name: point[name] for name in ("loss", "scale", "lr", "grad_norm")
        }
        assert heard["samples_per_second"] > 0 and 0 <= heard["data_wait_share"] <= 1
    assert listener.done[-1] == (TRAIN.steps * TRAIN.batch_size,) * 2


def test_weights_to_start_from(train):
    """A model folder and a folder with checkpoints give the first step the same loss, and no start another."""
    done = train("done", steps=3)
    (done / "only").mkdir()
    shutil.copytree(done / "_checkpoints", done / "only" / "_checkpoints")
    starts = {"fresh": (), "folder": (str(done),), "checkpoints": (str(done / "only"),)}
    losses = {
        name: read_points(train(name, steps=1, log_every=1, start=start))[0]["loss"] for name, start in starts.items()
    }
    assert losses["folder"] == losses["checkpoints"] != losses["fresh"]


def test_a_checkpoint_to_start_from_does_not_bind_a_gpus_process_to_the_cpu(train, monkeypatch):
    """DeepSpeed takes its device from the environment once, at its first import: before the engine is built."""
    checkpoints = train("done", steps=3)
    monkeypatch.delenv("DS_ACCELERATOR")
    (checkpoints / "config.json").unlink()
    load_start(system(), [str(checkpoints)], "clip", torch.device("cuda"))
    assert "DS_ACCELERATOR" not in os.environ


def test_what_sgd_keeps_under_zero_goes_to_no_other_number_of_workers(train):
    settings = {"optimizer": "sgd", "zero_stage": 1}
    out = train("out", steps=1, **settings)
    (state,) = out.glob("_checkpoints/*/state.json")
    state.write_text(state.read_text().replace('"ranks": 1', '"ranks": 2'))
    with pytest.raises(UserError, match=r"and not SGD's; go on with 2, or begin in another output folder"):
        train("out", steps=2, **settings)


@pytest.mark.parametrize("stage", [0, 3])
def test_a_run_goes_on_from_an_earlier_checkpoint_as_if_it_had_never_stopped(stage, train):
    """Under ZeRO too; and its checkpoints hold the weights that it exports."""
    out = train("out", zero_stage=stage, checkpoint_every=6)
    before = {name: (out / name).read_bytes() for name in RECORD}
    from_checkpoint = train("a", steps=1, log_every=1, start=(str(out / "_checkpoints" / "step-00000012"),))
    from_model = train("b", steps=1, log_every=1, start=(str(out),))
    assert_equal_records(from_checkpoint, from_model)

    shutil.rmtree(out / "_checkpoints" / "step-00000012")
    for name in RECORD:
        (out / name).unlink()
    train("out", zero_stage=stage, checkpoint_every=6)
    assert before == {name: (out / name).read_bytes() for name in RECORD}


def test_a_loss_that_is_not_finite_stops_the_run_and_the_last_good_checkpoint_stays(train, monkeypatch, tmp_path):
    """The rate of step 8 is made infinite, so that the loss of step 9 is not finite."""
    rate = loop.learning_rate
    monkeypatch.setattr(loop, "learning_rate", lambda step, settings: math.inf if step == 8 else rate(step, settings))
    with pytest.raises(UserError, match=r"step 9: loss nan .* not finite; lower --train\.lr"):
        train("burst")
    assert step_reached(tmp_path / "burst") == 6
    monkeypatch.undo()
    assert_equal_records(train("burst"), train("whole"))


def test_other_settings_do_not_go_on_from_this_runs_checkpoints(train):
    train("run", steps=3)
    with pytest.raises(UserError, match=r"made with train\.lr 0\.001, not 0\.002"):
        train("run", lr=2e-3)
    with pytest.raises(UserError, match="already 3 steps"):
        train("run", steps=2)
    with pytest.raises(UserError, match="zero-stage"):
        train("run", zero_stage=1)


def test_other_weights_to_start_from_do_not_go_on_from_this_runs_checkpoints(train, tmp_path):
    """The same ones elsewhere do, and none at all: they are not needed any more."""
    one, other = (train(name, steps=1, seed=seed) for name, seed in (("one", 1), ("other", 2)))
    out = train("run", steps=1, start=(str(one),))
    with pytest.raises(UserError, match=r"made with train\.start one \(\w+\), not other \(\w+\); give the same"):
        train("run", steps=2, start=(str(other),))
    train("run", steps=2)
    moved = shutil.move(one, tmp_path / "elsewhere" / "one")
    train("run", steps=3, start=(str(moved),))
    checkpoints = train("later", steps=1, start=(str(out),))
    with pytest.raises(UserError, match=r"made with train\.start run"):
        train(checkpoints.name, steps=2, start=(str(sorted((out / "_checkpoints").glob("step-*"))[0]),))


def test_another_deepspeed_file_does_not_go_on_from_this_runs_checkpoints(train, tmp_path):
    """But for the stage, which is compared by itself, and the folder it lies in."""

    def file(folder, **asked):
        path = tmp_path / folder / "deepspeed.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"zero_optimization": {"stage": 1}, **asked}))
        return path

    train("run", steps=1, zero_stage=1)
    train("run", steps=2, deepspeed=file("stage"))
    with pytest.raises(UserError, match=r"made with train\.deepspeed None, not deepspeed\.json \(\w+\)"):
        train("run", steps=3, deepspeed=file("more", prescale_gradients=True))
    train("scaled", steps=1, deepspeed=tmp_path / "more" / "deepspeed.json")
    train("scaled", steps=2, deepspeed=file("again", prescale_gradients=True))


def test_other_data_of_the_same_size_does_not_go_on_from_this_runs_checkpoints(train, corpus, tmp_path):
    out = train("run", steps=3)
    other = write_selection(tmp_path / "other", [f"{uid}" for uid in Samples.open(corpus[0]).uids.to_pylist()[1:]])
    with pytest.raises(UserError, match=r"made with samples 20 \(\w+\), not 20 \(\w+\)"):
        train_model(
            images=corpus[0],
            selection=other,
            recipe=SMALL,
            train=replace(TRAIN, steps=6),
            data=Data(threads=1),
            out=out,
            tracker=Silent(),
        )


def test_a_run_keeps_the_precision_it_began_with(train):
    """On a CPU `auto` is fp32; what a GPU began in bf16 goes on in bf16."""
    out = train("run", steps=3, precision="bf16")
    train("run", steps=6, precision="auto")
    states = sorted((out / "_checkpoints").glob("step-*/state.json"))
    assert [json.loads(state.read_text())["settings"]["train.precision"] for state in states] == ["bf16", "bf16"]
    train("plain", steps=3, precision="auto")
    with pytest.raises(UserError, match=r"made with train\.precision fp32, not bf16"):
        train("plain", steps=6, precision="bf16")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(train, error, monkeypatch, tmp_path):
    save, free = loop.Engine.save, shutil.disk_usage(tmp_path)._replace(free=0)

    def failing(self, folder):
        if folder.name.endswith("6"):
            monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
            raise error
        save(self, folder)

    monkeypatch.setattr(loop.Engine, "save", failing)
    with pytest.raises(UserError, match="no space left; free some"):
        train("full")
    assert step_reached(tmp_path / "full") == 3
    monkeypatch.undo()
    assert_equal_records(train("full"), train("whole"))


def test_fewer_samples_than_a_batch_are_refused(train):
    with pytest.raises(UserError, match="20 samples are fewer than one batch of 32"):
        train("few", batch_size=32)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--recipe", "clop"], "did you mean 'clip'?"),
        (["--train.batch-size", "0"], "--train.batch-size 0"),
        (["--train.start", "nowhere"], "no such file or folder"),
    ],
)
def test_bad_input_is_one_line_and_code_2(more, says, corpus, tmp_path, capsys):
    from vlp_core.train.__main__ import main

    images, selection = corpus
    words = ["--images", str(images), "--selection", str(selection), "--out", str(tmp_path / "out"), *FLAGS, *more]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_recipe_that_bootstraps_its_captions_says_that_they_are_as_they_are_here(tmp_path, capsys):
    from vlp_core.train.__main__ import main

    main(["--images", str(tmp_path), "--out", str(tmp_path / "out"), "--recipe", "blip"])
    assert capsys.readouterr().err.startswith("! blip: captions are as they are; it is pipelines/pretrain.py that")


def test_the_exported_model_is_what_was_trained(train):
    model, config = load_dual_encoder(train("out"))
    assert config["recipe"]["image_size"] == SMALL.image_size
    fresh = system(key_of(TRAIN.seed, "weights")).model.clip_state_dict()
    assert all(not torch.equal(value, fresh[name]) for name, value in model.clip_state_dict().items())
