"""The rule that moves the champion, and the choice of the metric it goes by."""

import pytest

from jobs.champion import Rival, choose_metric, decide
from vlp_core.errors import UserError

DATA = "ab12cd34" + "0" * 56


@pytest.mark.parametrize(
    ("rival", "champion", "words"),
    [
        (None, True, "the first version"),
        (Rival(version="3", score=0.91), True, "0.93 > 0.91 (version 3) on data ab12cd34: the new champion"),
        (Rival(version="3", score=0.94), False, "0.93 <= 0.94 (version 3) on data ab12cd34: the champion stays"),
        (Rival(version="3", score=0.93), False, "0.93 <= 0.93"),
        (Rival(version="3", score=0.5, again=True), True, "(version 3, scored again)"),
        (Rival(version="3", score=None, again=True), False, "the champion (version 3) has no such score and stays"),
    ],
    ids=["first", "better", "worse", "equal", "scored again", "no such score"],
)
def test_only_a_strictly_better_score_moves_the_champion(rival: Rival | None, champion: bool, words: str) -> None:
    decision = decide("zero_shot/top1", 0.93, rival, DATA)
    assert decision.champion is champion
    assert words in decision.reason
    assert decision.reason.startswith("zero_shot/top1 0.93")


def test_the_metric_is_the_one_named_or_the_best_there_is() -> None:
    both = {"zero_shot/top1": 0.1, "retrieval/text_to_image_r@10": 0.2, "retrieval/text_to_image_r@1": 0.3}
    retrieval = {name: value for name, value in both.items() if name.startswith("retrieval")}
    assert choose_metric(None, both) == "zero_shot/top1"
    assert choose_metric(None, retrieval) == "retrieval/text_to_image_r@10"
    assert choose_metric("retrieval/text_to_image_r@1", both) == "retrieval/text_to_image_r@1"
    with pytest.raises(UserError, match=r"did you mean 'zero_shot/top1'\? \(there are: retrieval.*zero_shot/top1\)"):
        choose_metric("zero_shot/top2", both)
