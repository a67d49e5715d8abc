"""train: Ray Train starts the workers, and each of them runs the library's loop."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlp_core.data.settings import Data
from vlp_core.errors import UserError, first_line
from vlp_core.towers import Towers
from vlp_core.tracker import Summary, Tracker
from vlp_core.train.deepspeed_file import stage_of
from vlp_core.train.settings import Train

VERSION = "2"
RESUMABLE = True
START_TRIES = 30  # of a minute each: so long may a lost node take to come back


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What every worker is given."""

    images: Path
    selection: Path
    recipe: Any
    train: Train
    data: Data
    tokenizer: Path | None
    out: Path
    tracker: Tracker
    previous: Path | None


def run(
    *,
    images: Path,
    selection: Path,
    recipe: Any,
    train: Train,
    data: Data,
    out: Path,
    tracker: Tracker,
    shards: Path | None = None,
    tokenizer: Path | None = None,
    previous: Path | None = None,
) -> Summary:
    """Train `recipe` on the selected pictures into a model folder; goes on from the checkpoints in `out`.

    `recipe` is a `vlp_core.sizes.SystemSizes`; `tokenizer` holds its word pieces, for one that reads those.
    `shards` is what the shard stage made of the selection, which is read in place of `images` where it was rewritten.
    `previous` is a finished result with fewer steps, which this one carries on. Raises UserError for settings and data
    that do not fit. Workers that are lost are replaced `train.restarts` times between two checkpoints; what fails by
    itself is tried once more, for it may be what a lost worker left to the others, and twice at one place is no luck.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    import ray

    from jobs import ray_trainer  # noqa: F401  # it loads torch, which two threads should not do at once
    from vlp_core.train.loop import summary

    images = _rewritten(shards) or images
    gpu = ray.cluster_resources().get("GPU", 0) > 0 if train.gpu is None else train.gpu
    _check_room(train, gpu, ray.cluster_resources())
    check_size(selection, train)
    work = _Work(
        images=images,
        selection=selection,
        recipe=recipe,
        train=replace(train, gpu=gpu),
        data=data,
        tokenizer=tokenizer,
        out=out,
        tracker=tracker,
        previous=previous,
    )
    _tell_again(out, previous, tracker)
    with ThreadPoolExecutor(1) as beside:  # counting needs torch, and would keep the workers from starting meanwhile
        told = beside.submit(_tell_cut, selection, recipe, tokenizer, tracker)
        _fit_on(work, gpu)
        told.result()
    return summary(out)


def _fit_on(work: _Work, gpu: bool) -> None:
    """Fit, and again from the last checkpoint where workers were lost."""
    import ray
    from ray.train import ControllerError, TrainingFailedError

    train, out, tracker = work.train, work.out, work.tracker
    failures, reached = 0, _latest(out)
    while True:
        try:
            return _fit(work)
        except TrainingFailedError as error:
            cause = _cause(error)
            if isinstance(cause, UserError):
                raise cause from None
            if isinstance(error, ControllerError):
                _check_room(train, gpu, ray.cluster_resources())
                kind, free = _kind(gpu), _count(gpu, ray.available_resources())
                if free < train.workers:
                    tracker.warn(f"training waits for {train.workers} {kind}s (free now: {free})")
                    continue
            before, reached = reached, _latest(out)
            failures = failures + 1 if reached == before else 1
            if failures > (train.restarts if _is_rays(cause) else min(train.restarts, 1)):
                raise
            reason = f"{type(cause).__name__}: {first_line(cause)}"
            tracker.warn(f"training stopped ({reason}); starting again from the last checkpoint")


def _tell_again(out: Path, previous: Path | None, tracker: Tracker) -> None:
    """Tell the tracker the curve so far: once, and while no worker waits for it."""
    from vlp_core.train.checkpoint import FOLDER
    from vlp_core.train.curve import read_points, tell

    for run in (out, previous):
        if run is not None and (name := _latest(run)):
            with suppress(ValueError):  # of a damaged one the workers say so
                tell(tracker, read_points(run / FOLDER / name))
            return


def _latest(out: Path) -> str | None:
    """The name of the newest checkpoint."""
    from vlp_core.train.checkpoint import FOLDER, LATEST

    path = out / FOLDER / LATEST
    return path.read_text() if path.exists() else None


def _cause(error: Exception) -> Exception:
    """What is behind Ray's report: what a worker says to the user, or that one was lost, or else the first failure.

    Where one worker is lost, the others fail too, with errors of the connection to it.
    """
    failures = getattr(error, "worker_failures", {}).values()
    causes = [getattr(failure, "health_check_failure", failure) for failure in failures]
    causes = causes or [getattr(error, "controller_failure", error)]
    return min(causes, key=lambda cause: (not isinstance(cause, UserError), not _is_rays(cause)))


def _is_rays(error: Exception) -> bool:
    """Whether Ray says it, of a worker, and not the worker itself."""
    return type(error).__module__.startswith("ray.")


def _check_room(train: Train, gpu: bool, resources: Mapping[str, float]) -> None:
    """Ray would wait, and say nothing, for more than the cluster has."""
    there = _count(gpu, resources)
    if train.workers > there:
        raise UserError(
            f"--train.workers {train.workers}: each takes a {_kind(gpu)} and the cluster has {there}; "
            + (f"give {there} or fewer" if there else "leave --train.gpu out to train on CPUs")
        )


def _kind(gpu: bool) -> str:
    return "GPU" if gpu else "CPU"


def _count(gpu: bool, resources: Mapping[str, float]) -> int:
    """How many of what a worker takes are among the resources."""
    return int(resources.get(_kind(gpu), 0))


def _rewritten(shards: Path | None) -> Path | None:
    """The folder of rewritten shards, if there is one and its manifest says that it holds the pictures."""
    if shards is None or not json.loads((shards / "manifest.json").read_text())["resharded"]:
        return None
    return shards


def check(recipe: Any, train: Train) -> None:
    """UserError where the recipe's sizes make no system, or one that cannot be trained under this stage of ZeRO, lacks
    a part whose rate is scaled, or cannot start from what it is given. Two towers tell of their sizes themselves: a
    plan of them loads no torch."""
    if not isinstance(recipe, Towers):
        from vlp_core.sizes import check_sizes

        check_sizes(recipe)
    if (stage := stage_of(train)) == 3:  # under the others all can be
        from vlp_core.sizes import outline
        from vlp_core.train import engine

        engine.check_stage(outline(recipe), stage)
    if train.lr_scale:
        from vlp_core.sizes import outline
        from vlp_core.train import engine

        engine.parameter_groups(outline(recipe), train.weight_decay, train.lr_scale)
    if train.start:
        from vlp_core.train.start import check_start

        check_start(recipe, train.start)


def check_size(selection: Path, train: Train) -> None:
    """UserError, before workers are started, where there are fewer samples than one batch."""
    import pyarrow.compute as pc

    from vlp_core.data.stored import read_selection

    samples = round(pc.sum(read_selection(selection, ["weight"])["weight"]).as_py() or 0)  # of an epoch
    if samples < train.batch_size:
        raise UserError(
            f"{selection}: {samples} samples are fewer than one batch of {train.batch_size}; "
            "lower --train.batch-size or give more data"
        )


def _tell_cut(selection: Path, recipe: Any, tokenizer: Path | None, tracker: Tracker) -> None:
    """Says so, once and before workers are started, where captions are cut."""
    from vlp_core.data.stored import some_captions
    from vlp_core.data.tokens import tokenizer_of
    from vlp_core.sizes import config_of
    from vlp_core.train.cut import COUNTED, tell_cut

    captions = some_captions(selection, COUNTED)
    tell_cut(captions, recipe, tokenizer_of(config_of(recipe)["tokenizer"], tokenizer), tracker)


def _fit(work: _Work) -> None:
    from ray.train.torch import TorchConfig
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig  # those of ray.train, for type checkers

    from jobs.ray_trainer import Trainer
    from vlp_core.train.ranks import PATIENCE

    train = work.train
    trainer = Trainer(
        _worker,
        train_loop_config={"work": work},
        torch_config=TorchConfig(timeout_s=int(PATIENCE.total_seconds())),
        scaling_config=ScalingConfig(num_workers=train.workers, use_gpu=bool(train.gpu)),
        # Its own restarts would repeat what a user has to put right: `run` restarts what can be helped.
        run_config=RunConfig(
            name="train",
            storage_path=str(work.out / "_ray"),
            # Without a limit it would try for ever, and say nothing, to start on a node that is gone.
            failure_config=FailureConfig(controller_failure_limit=START_TRIES - 1),
        ),
    )
    trainer.fit()


def _worker(config: dict[str, _Work]) -> None:
    from vlp_core.train.loop import train_model

    work = config["work"]
    train_model(
        images=work.images,
        selection=work.selection,
        recipe=work.recipe,
        train=work.train,
        data=work.data,
        tokenizer=work.tokenizer,
        out=work.out,
        tracker=work.tracker,
        previous=work.previous,
        tell_before=False,
    )
