"""Arms by the scores of what was trained on each: means, intervals, who wins, and whether the truth agrees."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from vlp_core.curation.truth import Worth

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Trials:
    """An arm: its rules, what it selects, and what each seed's model scored (0 to 1); its worth, where the truth is
    known."""

    arm: str
    rules: str
    pictures: int
    captions: int
    scores: tuple[float, ...]
    worth: Worth | None = None
    same_as: str | None = None
    """The earlier arm that selects the very same: the scores are that arm's, and say nothing more than once."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


def distinct(arms: Sequence[Trials]) -> list[Trials]:
    """One arm of those that select the same: each selection is one piece of evidence."""
    return [arm for arm in arms if arm.same_as is None]


def half_width(arms: Sequence[Trials]) -> float | None:
    """Half of the interval that holds an arm's mean over seeds with 95 % confidence: one width for all.

    Student's, of the deviation over seeds that all distinct selections share (the root of the mean of their variances):
    so every run says something of it, where three alone would say next to nothing. None where no arm has two seeds.
    """
    from scipy import stats

    tried = distinct(arms)
    number = len(tried[0].scores)
    if number < 2:
        return None
    deviation = math.sqrt(float(np.mean([np.var(arm.scores, ddof=1) for arm in tried])))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=len(tried) * (number - 1)))
    return quantile * deviation / math.sqrt(number)


def by_score(arms: Sequence[Trials]) -> list[Trials]:
    """The best first; of equal ones the earlier."""
    return sorted(arms, key=lambda arm: -arm.mean)


def clear_of(first: Trials, second: Trials, half: float | None) -> bool:
    """Whether the first is ahead of the second by more than the interval of their difference, √2 of that of a mean."""
    return half is not None and first.mean - second.mean > math.sqrt(2) * half


def leading(arms: Sequence[Trials], half: float | None) -> list[Trials]:
    """The best, and those that it is not clear of: one alone has won."""
    best, *others = by_score(distinct(arms))
    return [best, *(arm for arm in others if not clear_of(best, arm, half))]


def winner(arms: Sequence[Trials], half: float | None) -> Trials | None:
    """The arm that is clear of all others; None where seeds alone may have put it first."""
    first, *close = leading(arms, half)
    return None if close else first


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far scores and the truth's F1 put distinct selections in one order.

    tau        Kendall's, b: pairs in one order less those in the other, where ties count for neither
    pairs      of selections
    apart      of these, whose scores seeds alone do not explain
    as_by_f1   of these, that stand as by F1
    """

    tau: float
    pairs: int
    apart: int
    as_by_f1: int

    def __str__(self) -> str:
        told = f"Kendall's tau-b {self.tau:.2f}"
        if self.apart == self.pairs:
            return f"{told}, and every two arms are clearly apart."
        if not self.apart:
            return f"{told}, which may be chance: no two arms are clearly apart."
        few = f"of {self.pairs} pairs of arms {self.apart} are clearly apart, {self.as_by_f1} of these as by F1"
        return f"{told}; {few}; the order of the others may be chance."


def agreement(arms: Sequence[Trials], half: float | None) -> Agreement | None:
    """None where the truth is not known of each, or all arms are equal by it or by score."""
    from scipy import stats

    tried = distinct(arms)
    known = [arm.worth.f1 for arm in tried if arm.worth is not None]
    if len(known) < len(tried) or len(tried) < 2:
        return None
    tau = float(stats.kendalltau([arm.mean for arm in tried], known, variant="b").statistic)
    if math.isnan(tau):
        return None
    pairs = list(permutations(zip(tried, known, strict=True), 2))
    apart = [f1 > other_f1 for (arm, f1), (other, other_f1) in pairs if clear_of(arm, other, half)]
    return Agreement(tau=tau, pairs=len(pairs) // 2, apart=len(apart), as_by_f1=sum(apart))


def said_of_winner(arms: Sequence[Trials], half: float | None) -> str:
    """One line: who wins and by how many points, or that none does."""
    best, *others = by_score(distinct(arms))
    if not others:
        return f"{best.arm} alone: {100 * best.mean:.1f} %" + (", for all arms select the same" if arms[1:] else "")
    second = others[0]
    lead = f"{100 * (best.mean - second.mean):.1f} points"
    if clear_of(best, second, half):
        return f"{best.arm} wins: {lead} ahead of {second.arm}, more than seeds alone do"
    why = "one seed cannot tell" if half is None else f"less than the {100 * math.sqrt(2) * half:.1f} that seeds may do"
    return f"undecided: no arm is clearly ahead of {second.arm}; {best.arm} leads by {lead}, {why}"


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
            f"same selection as {arm.same_as}" if arm.same_as else " ".join(f"{100 * one:.1f}" for one in arm.scores),
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
        "same_as": [arm.same_as for arm in best],
    }
    if all(arm.worth is not None for arm in best):
        found |= {name: [getattr(arm.worth, name) for arm in best] for name in ("precision", "recall", "f1")}
    return found
