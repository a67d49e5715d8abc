"""Arms by score: intervals, who wins, and whether the truth agrees."""

import math
import statistics

import pytest

from vlp_core.curation.trials import Trials, agreement, by_score, half_width, said_of_winner, table
from vlp_core.curation.truth import Worth

T_4 = 2.7764451  # Student's, 97.5 %, 4 degrees of freedom


def arm(name: str, *scores: float, good: int | None = None) -> Trials:
    known = None if good is None else Worth(good=good, selected=10, there=10)
    return Trials(arm=name, rules="all", pictures=10, captions=20, scores=scores, worth=known)


def test_the_interval_is_students_of_the_deviation_that_all_arms_share() -> None:
    arms = [arm("a", 0.1, 0.2, 0.3), arm("b", 0.5, 0.5, 0.8)]
    shared = math.sqrt(statistics.mean([statistics.variance(found.scores) for found in arms]))
    assert half_width(arms) == pytest.approx(T_4 * shared / math.sqrt(3), rel=1e-6)
    assert half_width([arm("a", 0.1), arm("b", 0.2)]) is None


def test_the_best_comes_first_and_is_said_to_be_ahead_only_where_it_is() -> None:
    close, far = arm("close", 0.5, 0.54), arm("far", 0.1, 0.12)
    best = arm("best", 0.53, 0.56)
    arms = [far, close, best]
    half = half_width(arms)
    assert [found.arm for found in by_score(arms)] == ["best", "close", "far"]
    assert said_of_winner(arms, half).endswith("0.0250 ahead of close, which seeds alone may do")
    assert said_of_winner([far, best], half) == "best wins: 0.4350 ahead of far, more than seeds alone do"
    rows = table(arms, "zero_shot/top1", half).splitlines()
    assert rows[2].startswith(f"| best | `all` | 10 | 20 | 54.5 ± {100 * half:.1f} | 53.0 56.0 |")


def test_the_truth_agrees_by_pairs_in_order() -> None:
    assert agreement([arm("a", 0.1, good=1), arm("b", 0.2, good=5), arm("c", 0.3, good=9)]) == 1
    assert agreement([arm("a", 0.1, good=5), arm("b", 0.2, good=1), arm("c", 0.3, good=9)]) == pytest.approx(1 / 3)
    assert agreement([arm("a", 0.1, good=5), arm("b", 0.2)]) is None
    assert agreement([arm("a", 0.1, good=5)]) is None
