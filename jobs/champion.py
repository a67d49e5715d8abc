"""Who is the champion: the one rule, free of any registry."""

from dataclasses import dataclass

from vlp_core.errors import UserError, nearest

PREFERRED = (
    "zero_shot/top1",
    "retrieval/text_to_image_r@10",
    "retrieval_first/text_to_image_r@10",
    "captions/cider",
)


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The present champion with its score on the evaluation data of the challenger."""

    version: str
    score: float | None  # None: it has no such score, and cannot be compared
    again: bool = False  # whether it was scored again because that data had changed


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the challenger becomes the champion, and why."""

    champion: bool
    reason: str


def choose_metric(metric: str | None, scores: dict[str, float]) -> str:
    """The metric to win by; without a name, zero-shot top-1 where there is one, else retrieval, else captions.

    Raises:
        UserError: the scores have no such metric.
    """
    if metric is None:
        metric = next((name for name in PREFERRED if name in scores), PREFERRED[0])
    if metric not in scores:
        names = ", ".join(sorted(scores))
        near = nearest(metric, scores)
        hint = f"{near} (there are: {names})" if near.startswith("; did you mean") else f"; there are: {names}"
        raise UserError(f"metric {metric!r} is not among the scores{hint}")
    return metric


def decide(metric: str, score: float, rival: Rival | None, data: str) -> Decision:
    """Strictly better on the same data moves the champion; higher is better, and a first version has no rival.

    Args:
        data: the digest of the evaluation data both were scored on.
    """
    where = f"on data {data[:8]}"
    if rival is None:
        return Decision(champion=True, reason=f"{metric} {score:.6g} {where}: the first version")
    if rival.score is None:
        return Decision(
            champion=False,
            reason=f"{metric} {score:.6g} {where}: the champion (version {rival.version}) has no such score and stays; "
            "compare them by one that both have, or give the alias by hand",
        )
    better = score > rival.score
    again = ", scored again" if rival.again else ""
    sign, outcome = (">", "the new champion") if better else ("<=", "the champion stays")
    return Decision(
        champion=better,
        reason=f"{metric} {score:.6g} {sign} {rival.score:.6g} (version {rival.version}{again}) {where}: {outcome}",
    )
