"""The steps of judges that are models: each made once, whatever rules ask."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from jobs import neighbours, prompts, score, semantic
from pipelines.workflow.step import Step, step
from vlp_core.curation.prompts import read_prompts
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.rules import Rule
from vlp_core.curation.score_settings import Score, Semantic
from vlp_core.errors import UserError

SCORE, PROMPTS, NEIGHBOURS = "score", "prompts", "neighbours"


def check_scores(settings: Score, semantic: Semantic, rules: Iterable[Rule]) -> None:
    """UserError where something is asked of a model and none is named."""
    if settings.model is not None:
        return
    for rule in rules:
        if JUDGES[SCORE].gives.keys() | JUDGES[PROMPTS].gives.keys() >= {rule.quantity}:
            raise UserError(
                f"rule '{rule}' compares what a model says: give --score.model too (ARCH:FILE, a folder, or "
                "models:/NAME@champion), or leave that rule out"
            )
    for flag, given in (("--score.prompts", settings.prompts), ("--semantic.epsilon", semantic.epsilon)):
        if given is not None:
            raise UserError(f"{flag} {given}: is for what a model sees; give --score.model too, or leave it out")


def add_scores(
    settings: Score, images: Step, columns: dict[str, Step], asked: Iterable[str], after: tuple[Step, ...] = ()
) -> None:
    """Add the steps of models to the columns, but for those that are there.

    `asked` are the judges whose columns rules compare; the steps `after` must have ended well before.
    UserError for a model that cannot score.
    """
    if settings.model is None:
        return
    if SCORE not in columns:
        from vlp_core.scorer import scorer_of

        # What scores is its content, and no prompt changes a score.
        scored = step(
            "score",
            score.run,
            images=images,
            scorer=scorer_of(settings.model),
            score=Score(
                precision=settings.precision,
                batch_size=settings.batch_size,
                workers=settings.workers,
                gpu=settings.gpu,
            ),
        )
        columns[SCORE] = replace(scored, after=after)
    if PROMPTS not in columns and (PROMPTS in asked or settings.prompts is not None):
        columns[PROMPTS] = step(
            "prompts",
            prompts.run,
            scores=columns[SCORE],
            scorer=columns[SCORE].inputs["scorer"],
            prompts=read_prompts(settings.prompts),
        )


def semantic_of(settings: Semantic, columns: dict[str, Step], left: dict[str, Any], arm: str) -> Step | None:
    """The step that says which pictures go since others show the same, where that is asked for.

    `left` are the steps that say what is left: verdicts, copies, near, matches.
    """
    if settings.epsilon is None:
        return None
    if NEIGHBOURS not in columns:
        columns[NEIGHBOURS] = step("neighbours", neighbours.run, scores=columns[SCORE], semantic=settings)
    return step(f"semantic{arm}", semantic.run, **left, neighbours=columns[NEIGHBOURS], scores=columns[SCORE])
