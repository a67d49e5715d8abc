"""Arms by the scores of what was trained on each: means, intervals, who wins, and whether the truth agrees."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlp_core.curation.truth import Worth

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Trials:
    """An arm: its rules, what it selects, and what each seed's model scored; its worth, where the truth is known."""

    arm: str
    rules: str
    pictures: int
    captions: int
    scores: tuple[float, ...]
    worth: Worth | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


def half_width(arms: Sequence[Trials]) -> float | None:
    """Half of the interval that holds an arm's mean over seeds with 95 % confidence: one width for all.

    Student's, of the deviation over seeds that all arms share (the root of the mean of their variances): so every run
    says something of it, where three alone would say next to nothing. None where no arm has two seeds.
    """
    from scipy import stats

    number = len(arms[0].scores)
    if number < 2:
        return None
    deviation = math.sqrt(float(np.mean([np.var(arm.scores, ddof=1) for arm in arms])))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=len(arms) * (number - 1)))
    return quantile * deviation / math.sqrt(number)


def by_score(arms: Sequence[Trials]) -> list[Trials]:
    """The best first; of equal ones the earlier."""
    return sorted(arms, key=lambda arm: -arm.mean)


def clear_of(first: Trials, second: Trials, half: float | None) -> bool:
    """Whether the first is ahead of the second by more than the interval of their difference, √2 of that of a mean."""
    return half is not None and first.mean - second.mean > math.sqrt(2) * half


def agreement(arms: Sequence[Trials]) -> float | None:
    """Kendall's tau (b) between scores and the truth's F1; None where that is not known, or says nothing."""
    from scipy import stats

    known = [arm.worth.f1 for arm in arms if arm.worth is not None]
    if len(known) < len(arms) or len(arms) < 2:
        return None
    tau = float(stats.kendalltau([arm.mean for arm in arms], known).statistic)
    return None if math.isnan(tau) else tau


def said_of_winner(arms: Sequence[Trials], half: float | None) -> str:
    """One line: who wins, by how much, and whether that is more than chance."""
    best, *others = by_score(arms)
    if not others:
        return f"{best.arm} alone: {best.mean:.4f}"
    second = others[0]
    lead = best.mean - second.mean
    sure = "more than seeds alone do" if clear_of(best, second, half) else "which seeds alone may do"
    return f"{best.arm} wins: {lead:.4f} ahead of {second.arm}, {sure}"


def table(arms: Sequence[Trials], metric: str, half: float | None) -> str:
    """A row an arm, the best first, in Markdown."""
    known = all(arm.worth is not None for arm in arms)
    spread = "" if half is None else f" ± {100 * half:.1f}"
    heads = ["arm", "rules", "pictures", "captions", f"{metric}, %", "seeds, %"]
    rows = [
        [
            arm.arm,
            f"`{arm.rules}`",
            f"{arm.pictures:,}",
            f"{arm.captions:,}",
            f"{100 * arm.mean:.1f}{spread}",
            " ".join(f"{100 * score:.1f}" for score in arm.scores),
            *_told(arm.worth if known else None),
        ]
        for arm in by_score(arms)
    ]
    heads += ["good of selected, %", "selected of good, %", "F1"] if known else []
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _told(worth: Worth | None) -> list[str]:
    if worth is None:
        return []
    return [f"{100 * worth.precision:.1f}", f"{100 * worth.recall:.1f}", f"{worth.f1:.3f}"]


def columns(arms: Sequence[Trials], half: float | None) -> Mapping[str, list]:
    """The table as columns, for whoever draws or sorts it."""
    best = by_score(arms)
    found: dict[str, list] = {
        "arm": [arm.arm for arm in best],
        "rules": [arm.rules for arm in best],
        "pictures": [arm.pictures for arm in best],
        "captions": [arm.captions for arm in best],
        "mean": [arm.mean for arm in best],
        "half": [half] * len(best),
        "scores": [list(arm.scores) for arm in best],
    }
    if all(arm.worth is not None for arm in best):
        found |= {name: [getattr(arm.worth, name) for arm in best] for name in ("precision", "recall", "f1")}
    return found
