"""Arms by score: intervals, who wins, and whether the truth agrees."""

import math
import statistics

import pytest

from vlp_core.curation.trials import Trials, agreement, by_score, half_width, leading, said_of_winner, table, winner
from vlp_core.curation.truth import Worth

T_4 = 2.7764451  # Student's, 97.5 %, 4 degrees of freedom


def arm(name: str, *scores: float, good: int | None = None, same_as: str | None = None) -> Trials:
    known = None if good is None else Worth(good=good, selected=10, there=10)
    return Trials(arm=name, rules="all", pictures=10, captions=20, scores=scores, worth=known, same_as=same_as)


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
    assert half is not None
    seeds = f"less than the {100 * math.sqrt(2) * half:.1f} that seeds may do"
    undecided = "undecided: no arm is clearly ahead of close; best leads by 2.5 points"
    assert said_of_winner(arms, half) == f"{undecided}, {seeds}"
    assert said_of_winner(arms, None) == f"{undecided}, one seed cannot tell"
    assert winner(arms, half) is None and leading(arms, half) == [best, close]
    assert said_of_winner([far, best], half) == "best wins: 43.5 points ahead of far, more than seeds alone do"
    assert winner([far, best], half) is best
    rows = table(arms, "zero_shot/top1", half).splitlines()
    assert rows[2].startswith(f"| best | `all` | 10 | 20 | 54.5 ± {100 * half:.1f} | 53.0 56.0 |")


def test_an_arm_that_selects_what_another_does_is_no_evidence_of_its_own() -> None:
    arms = [arm("a", 0.1, 0.2, good=2), arm("b", 0.5, 0.7, good=9)]
    more = [*arms, arm("twin", 0.5, 0.7, good=9, same_as="b")]
    half = half_width(arms)
    assert half_width(more) == half
    assert agreement(more, half) == agreement(arms, half)
    assert winner(more, half) == winner(arms, half)
    assert said_of_winner(more, half) == said_of_winner(arms, half)
    assert "| same selection as b |" in table(more, "zero_shot/top1", half)
    assert said_of_winner([*arms[1:], more[-1]], half) == "b alone: 60.0 %, for all arms select the same"


def test_the_truth_agrees_by_pairs_in_order_of_which_some_may_be_chance() -> None:
    def tau(*arms: Trials, half: float | None = 0.01) -> float | None:
        found = agreement(arms, half)
        return None if found is None else found.tau

    arms = [arm("a", 0.1, good=5), arm("b", 0.2, good=1), arm("c", 0.5, good=9)]
    assert tau(arm("a", 0.1, good=1), arm("b", 0.2, good=5), arm("c", 0.3, good=9)) == 1
    assert tau(*arms) == pytest.approx(1 / 3)
    assert tau(arm("a", 0.1, good=5), arm("b", 0.1, good=1), arm("c", 0.3, good=9)) == pytest.approx(2 / math.sqrt(6))
    assert tau(arm("a", 0.1, good=5), arm("b", 0.2)) is None and tau(arm("a", 0.1, good=5)) is None
    few = "of 3 pairs of arms 2 are clearly apart, 2 of these as by F1; the order of the others may be chance."
    assert str(agreement(arms, 0.1)) == f"Kendall's tau-b 0.33; {few}"
    assert str(agreement(arms, 0.01)) == "Kendall's tau-b 0.33, and every two arms are clearly apart."
    assert str(agreement(arms, None)).endswith("0.33, which may be chance: no two arms are clearly apart.")
