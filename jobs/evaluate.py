"""Score a model: zero-shot classification and retrieval in both directions, with pictures of what was found."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from vlp_core.evals.settings import Evaluate
from vlp_core.files import write_text
from vlp_core.identity import digest_of, sha256_of_file
from vlp_core.tracker import Progress, Silent, Summary, Tracker

if TYPE_CHECKING:
    from vlp_core.evals.evaluators import Suite

VERSION = "2"
SCORES_FILE = "scores.json"
DATA_DIGEST = "data_digest"
SHOWN_FIRST = ("zero_shot/top1", "retrieval/text_to_image_r@1", "retrieval/image_to_text_r@1")


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
    from vlp_core.evals.evaluators import CLASSES, QUERIES, Suite

    suite = Suite.read(retrieval=retrieval, zero_shot=zero_shot, classes=classes)
    scores = scores_of(model, suite, evaluate, dual=dual, tracker=tracker, draw=out)
    write_text(
        out / SCORES_FILE, json.dumps(scores | {DATA_DIGEST: data_digest(suite, dual)}, indent=2, sort_keys=True) + "\n"
    )
    pictures = {Path(name).stem: name for name in (QUERIES, CLASSES) if (out / name).exists()}
    shown = {name: scores[name] for name in SHOWN_FIRST if name in scores}
    return Summary(counts=shown | scores, pictures=pictures)


def read_scores(folder: Path) -> dict[str, float]:
    """The scores that were written into a folder."""
    found: dict[str, float] = json.loads((folder / SCORES_FILE).read_text())
    return {name: value for name, value in found.items() if name != DATA_DIGEST}


def data_digest(suite: "Suite", dual: Path | None) -> str:
    """What two scores have to have in common to be compared: the data, and who brings the candidates."""
    if dual is None:
        return suite.digest
    place = Path(str(dual).partition(":")[2] or dual)
    weights = sorted(place.glob("*.safetensors")) if place.is_dir() else [place]
    return digest_of([suite.digest, *(sha256_of_file(file) for file in weights)])


def scores_of(
    model: Path,
    suite: "Suite",
    evaluate: Evaluate,
    *,
    dual: Path | None = None,
    tracker: Tracker | None = None,
    draw: Path | None = None,
) -> dict[str, float]:
    """All scores of a model: a folder of ours, an open_clip export, or any checkpoint of open_clip's as ARCH:FILE."""
    from vlp_core.evals.encoder import load_encoder
    from vlp_core.evals.evaluators import score
    from vlp_core.evals.reader import Reader
    from vlp_core.evals.systems import score_system
    from vlp_core.recipes.folder import is_system, load_system

    progress = Progress(tracker or Silent(), suite.work, unit="pictures and texts")
    if not is_system(model):
        encoder = load_encoder(model, evaluate)
        return score(encoder, suite.evaluators(draw=draw, queries=evaluate.queries, done=progress.add))
    system, tokenizer, config = load_system(model)
    reader = Reader.of(system, tokenizer, config["preprocess"], evaluate, name=str(model))
    brings = None if dual is None or system.compares else load_encoder(dual, evaluate)
    return score_system(reader, suite, dual=brings, draw=draw, done=progress.add)
