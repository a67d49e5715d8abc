"""trial: a recipe trained on a selection with one seed, and scored, for comparing selections."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import evaluate as evaluation
from jobs import train as training
from jobs.same import same_as
from jobs.shards import ShardTask, map_shards
from vlp_core.data.settings import Data
from vlp_core.evals.settings import Evaluate
from vlp_core.files import write_text
from vlp_core.tracker import Summary, Tracker
from vlp_core.train.settings import Train

VERSION = "1"
RESUMABLE = True


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What a worker is given: how `vlp_core.train.loop.train_model` is called, and on what the model is scored."""

    train: Mapping[str, Any]
    score: evaluation.Work


def run(
    *,
    images: Path,
    selection: Path,
    same: Path | None = None,
    recipe: Any,
    train: Train,
    data: Data,
    tokenizer: Path | None = None,
    retrieval: Path | None = None,
    zero_shot: Path | None = None,
    classes: Path | None = None,
    evaluate: Evaluate,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Train a model folder into `out`, going on from the checkpoints there, and write its scores.json beside it.

    With one worker a trial is one Ray task of `train.threads` cores (one, where that is 0) or a GPU, and many go on at
    once, each in a process that has torch loaded for the next; with more it is Ray Train's, as jobs.train has it.
    `recipe` is a `vlp_core.sizes.SystemSizes`. Where `same` (see `jobs.same`) says that an earlier arm selects the same
    there is nothing to do. Raises UserError for settings and data that do not fit.
    """
    if same is not None and same_as(same) is not None:
        return Summary(counts={"steps": 0})
    score = evaluation.Work(
        model=out,
        retrieval=retrieval,
        zero_shot=zero_shot,
        classes=classes,
        dual=None,
        evaluate=evaluate,
    )
    given = {"images": images, "selection": selection, "recipe": recipe, "data": data, "tokenizer": tokenizer}
    if train.workers > 1:
        training.run(**given, train=train, out=out, tracker=tracker)
        scores, digest = evaluation.scored(score)
    else:
        training.check_size(selection, train)
        cores = max(1, train.threads)
        gpus = _gpus(train)
        trial = _Trial(
            train=given | {"train": replace(train, threads=cores, gpu=gpus > 0), "out": out, "tracker": tracker},
            score=replace(score, evaluate=replace(evaluate, threads=evaluate.threads or cores)),
        )
        ((_, (scores, digest)),) = map_shards(_tried, [trial], task=ShardTask(cpus=cores, gpus=gpus))
    write_text(
        out / evaluation.SCORES_FILE,
        json.dumps(scores | {evaluation.DATA_DIGEST: digest}, indent=2, sort_keys=True) + "\n",
    )
    return Summary(counts=evaluation.shown_first(scores))


def _gpus(train: Train) -> float:
    import ray

    there = float(ray.cluster_resources().get("GPU", 0) > 0)
    return there if train.gpu is None else float(train.gpu)


def _tried(trial: _Trial) -> tuple[dict[str, float], str]:
    """In a Ray worker: train, unless an earlier attempt got as far, and score."""
    from vlp_core.train.loop import train_model

    train_model(**trial.train)
    return evaluation.score(trial.score)
