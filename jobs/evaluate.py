"""Score a model: zero-shot classification and retrieval in both directions, with pictures of what was found."""

import json
import time
from pathlib import Path

from vlp_core.evals.settings import Evaluate
from vlp_core.files import write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
SCORES_FILE = "scores.json"
DATA_DIGEST = "data_digest"


def run(
    *,
    model: Path,
    retrieval: Path | None = None,
    zero_shot: Path | None = None,
    classes: Path | None = None,
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

    Raises:
        UserError: nothing to evaluate on, or a model or set that cannot be read.
    """
    from vlp_core.evals.encoder import load_encoder
    from vlp_core.evals.evaluators import CLASSES, QUERIES, Suite, score

    suite = Suite.read(retrieval=retrieval, zero_shot=zero_shot, classes=classes)
    encoder = load_encoder(model, evaluate)
    progress = Progress(tracker, suite.work)
    scores = score(encoder, suite.evaluators(draw=out, queries=evaluate.queries, done=progress))
    write_text(out / SCORES_FILE, json.dumps(scores | {DATA_DIGEST: suite.digest}, indent=2, sort_keys=True) + "\n")
    pictures = {Path(name).stem: name for name in (QUERIES, CLASSES) if (out / name).exists()}
    return Summary(counts=scores, pictures=pictures)


class Progress:
    """Adds up what is done and passes it on, twice a second at most."""

    def __init__(self, tracker: Tracker, total: int) -> None:
        self._tracker, self._total, self._done, self._said = tracker, total, 0, 0.0

    def __call__(self, count: int) -> None:
        self._done += count
        if self._done >= self._total or time.monotonic() - self._said > 0.5:
            self._said = time.monotonic()
            self._tracker.progress(self._done, self._total, unit="pictures and texts")
