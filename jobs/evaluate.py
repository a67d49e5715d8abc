"""Score a model: zero-shot classification and retrieval in both directions, with pictures of what was found."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.shards import ShardTask, map_shards
from vlp_core.errors import UserError
from vlp_core.evals.settings import Evaluate
from vlp_core.files import write_text
from vlp_core.tracker import Progress, Silent, Summary, Tracker

if TYPE_CHECKING:
    from vlp_core.evals.evaluators import Suite

VERSION = "6"
SCORES_FILE = "scores.json"
DATA_DIGEST = "data_digest"
SHOWN_FIRST = (
    "zero_shot/top1",
    "retrieval/text_to_image_r@1",
    "retrieval/image_to_text_r@1",
    "retrieval_first/text_to_image_r@1",
    "retrieval_first/image_to_text_r@1",
)


@dataclass(frozen=True, kw_only=True)
class Work:
    """A model and what it is scored on; see `run`. Pictures are drawn into `draw`, where that is given."""

    model: Path
    retrieval: Path | None
    zero_shot: Path | None
    classes: Path | None
    dual: Path | None
    evaluate: Evaluate
    draw: Path | None = None
    tracker: Tracker | None = None

    def suite(self) -> "Suite":
        from vlp_core.evals.evaluators import Suite

        return Suite.read(retrieval=self.retrieval, zero_shot=self.zero_shot, classes=self.classes)


def run(
    *,
    model: Path,
    retrieval: Path | None = None,
    zero_shot: Path | None = None,
    classes: Path | None = None,
    dual: Path | None = None,
    evaluate: Evaluate,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write scores.json (`{name: value}` and `data_digest`) and the pictures of the evaluators.

    Args:
        model: a model folder, an open_clip export folder or `ARCH:FILE`.
        retrieval: an images folder with captions.
        zero_shot: an images folder with the columns `label` and, if there are groups, `group`.
        classes: the file of class names and templates, or a folder that holds it as classes.json.
        dual: a dual encoder, named as `model` is: its best are what a fusion without two towers of its own ranks.

    Raises:
        UserError: nothing to evaluate on, or a model or set that cannot be read.
    """
    scores, digest = scored(
        Work(
            model=model,
            retrieval=retrieval,
            zero_shot=zero_shot,
            classes=classes,
            dual=dual,
            evaluate=evaluate,
            draw=out,
            tracker=tracker,
        )
    )
    from vlp_core.evals.evaluators import CLASSES
    from vlp_core.evals.names import QUERIES

    if not scores:
        raise UserError(f"{model}: of this system a zero-shot set says nothing; give --eval.retrieval LIST too")
    write_text(out / SCORES_FILE, json.dumps(scores | {DATA_DIGEST: digest}, indent=2, sort_keys=True) + "\n")
    pictures = {Path(name).stem: name for name in (QUERIES, CLASSES) if (out / name).exists()}
    return Summary(counts=shown_first(scores), pictures=pictures)


def shown_first(scores: dict[str, float]) -> dict[str, float]:
    """All scores, those that say most first."""
    return {name: scores[name] for name in SHOWN_FIRST if name in scores} | scores


def read_scores(folder: Path) -> dict[str, float]:
    """The scores that were written into a folder."""
    found: dict[str, float] = json.loads((folder / SCORES_FILE).read_text())
    return {name: value for name, value in found.items() if name != DATA_DIGEST}


def check(
    recipe: Any,
    metric: str | None,
    *,
    retrieval: bool,
    zero_shot: bool,
    dual: bool,
    flag: str = "--register.metric",
) -> None:
    """UserError where these sets say nothing of the recipe's system, or will not give the metric; reads nothing, torch
    neither, where that cannot be."""
    if metric is None and retrieval:
        return
    from vlp_core.evals.names import check_metric
    from vlp_core.evals.systems import parts_of
    from vlp_core.sizes import name_of, outline

    parts = parts_of(outline(recipe))
    check_metric(metric, name_of(recipe), parts, retrieval=retrieval, zero_shot=zero_shot, dual=dual, flag=flag)


def check_dual(recipe: Any, dual: Path) -> None:
    """UserError where the recipe's system ranks no other model's candidates, or `dual` is none that brings them."""
    from vlp_core.evals.encoder import EXPORT_CONFIG
    from vlp_core.evals.systems import parts_of
    from vlp_core.model_folder import read_config
    from vlp_core.sizes import name_of, outline

    parts = parts_of(outline(recipe))
    if parts.compares or not parts.matches:
        reason = "finds candidates by towers of its own" if parts.compares else "has no fusion that ranks"
        raise UserError(f"--dual {dual}: {name_of(recipe)} {reason}; leave it out")
    if dual.is_dir() and not (dual / EXPORT_CONFIG).is_file() and "open_clip" not in read_config(dual):
        theirs = read_config(dual)["recipe"].get("name")
        raise UserError(
            f"--dual {dual}: a {theirs} is no dual encoder of open_clip's; give a clip's folder or its export"
        )


def scored(work: Work) -> tuple[dict[str, float], str]:
    """The scores, and the digest that two of them have to share to be compared; on a GPU of the cluster's, if there is
    one: Ray waits until it is free, as it does for training."""
    gpus = gpus_of(work.evaluate)
    if not gpus:
        return score(work)
    ((_, found),) = map_shards(score, [work], task=ShardTask(gpus=gpus))
    return found


def gpus_of(evaluate: Evaluate) -> float:
    """How many GPUs are asked of Ray; none outside a cluster, or where the device was named by its number."""
    import ray

    if evaluate.device not in ("auto", "cuda") or not ray.is_initialized():
        return 0.0
    return float(ray.cluster_resources().get("GPU", 0) > 0)


def score(work: Work) -> tuple[dict[str, float], str]:
    """As `scored`, in this process."""
    from vlp_core.load import is_system
    from vlp_core.scoring import data_digest, scores_of

    suite = work.suite()
    # How many pairs a fusion is asked about shows on the way.
    total, unit = (None, "pictures, texts and pairs") if is_system(work.model) else (suite.work, "pictures and texts")
    progress = Progress(work.tracker or Silent(), total, unit=unit)
    scores = scores_of(work.model, suite, work.evaluate, dual=work.dual, draw=work.draw, done=progress.add)
    return scores, data_digest(work.model, suite, work.evaluate, dual=work.dual)


def digest_of_data(work: Work) -> str:
    """The digest alone."""
    from vlp_core.scoring import data_digest

    return data_digest(work.model, work.suite(), work.evaluate, dual=work.dual)
