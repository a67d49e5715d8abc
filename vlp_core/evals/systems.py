"""All that can be said of a system: what it compares, matches, reads and writes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vlp_core.evals.captions import captioning
from vlp_core.evals.encoder import Encoder
from vlp_core.evals.evaluators import Suite, score
from vlp_core.evals.judging import masked_words, matching, retrieved
from vlp_core.evals.reader import Reader


def score_system(
    reader: Reader,
    suite: Suite,
    *,
    dual: Encoder | None = None,
    draw: Path | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, float]:
    """The scores of a system on the suite, by name; what it has no part for is left out.

    `dual` brings the candidates that a fusion without two towers of its own ranks.
    """
    scores: dict[str, float] = {}
    if reader.system.compares:
        encoder = reader.encoder()
        compared = replace(suite, retrieval=None) if suite.zero_shot is not None else None
        if compared is not None:
            scores |= score(encoder, compared.evaluators(draw=draw, queries=reader.settings.queries, done=done))
    if suite.retrieval is not None:
        scores |= dict(retrieved(reader, suite.retrieval, dual))
        for evaluator in (matching, masked_words, captioning):
            scores |= dict(evaluator(reader, suite.retrieval))
    return scores
