"""All that can be said of a system: what it compares, matches, reads and writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vlp_core.evals.captions import captioning
from vlp_core.evals.encoder import Done, Encoder, silent
from vlp_core.evals.evaluators import Suite, score
from vlp_core.evals.judging import masked_words, matching
from vlp_core.evals.names import Parts
from vlp_core.evals.ranking import retrieved
from vlp_core.evals.reader import Reader
from vlp_core.evals.settings import Evaluate
from vlp_core.objectives.captioning import Captioning
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.objectives.matching import Matching
from vlp_core.system import System

# Part of the data's digest: raised when the same data and system would score otherwise.
VERSION = "5"


def parts_of(system: System) -> Parts:
    """What can be scored of a system; one without weights will do."""
    matches, reads, writes = (
        any(isinstance(part, kind) for part in system.objectives.modules())
        for kind in (Matching, MaskedLanguage, Captioning)
    )
    return Parts(compares=system.compares, matches=matches, reads=reads, writes=writes)


def measured_by(parts: Parts, settings: Evaluate, dual: str | None, tokens: str | None) -> dict[str, Any]:
    """What, beside a retrieval set, decides the scores of such a system on it; `dual` names who brings candidates,
    `tokens` what texts are cut into, which is what is asked for behind masks."""
    read = {"version": VERSION, "tokens": tokens} if parts.reads else {"version": VERSION}
    if not parts.matches:
        return read
    if not parts.compares and dual is None:
        return {**read, "matrix": settings.matrix}
    return {**read, "candidates": settings.candidates, "dual": None if parts.compares else dual}


def score_system(
    reader: Reader,
    suite: Suite,
    *,
    dual: Encoder | None = None,
    draw: Path | None = None,
    done: Done = silent,
) -> dict[str, float]:
    """The scores of a system on the suite, by name; what it has no part for is left out.

    `dual` brings the candidates that a fusion without two towers of its own ranks. `done` is told of each batch of
    pictures, texts or pairs.
    """
    scores: dict[str, float] = {}
    if reader.system.compares and suite.zero_shot is not None:
        labelled = replace(suite, retrieval=None)
        scores |= score(reader.encoder(), labelled.evaluators(draw=draw, done=done))
    if suite.retrieval is not None:
        scores |= dict(retrieved(reader, suite.retrieval, dual, draw=draw, done=done))
        for evaluator in (matching, masked_words, captioning):
            scores |= dict(evaluator(reader, suite.retrieval, done))
    return scores
