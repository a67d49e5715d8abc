"""What can be asked of an evaluation is known before it is made."""

import pytest
import torch

from vlp_core.errors import UserError
from vlp_core.evals import retrieval, zero_shot
from vlp_core.evals.names import OF_SYSTEMS, check_metric, names_of


def test_the_names_are_those_that_the_evaluators_give() -> None:
    vectors = torch.eye(12)
    pairs = torch.arange(12)[:, None].expand(-1, 2)
    given = [f"retrieval/{name}" for name, _ in retrieval.recalls(vectors, vectors, pairs)]
    given += [f"zero_shot/{name}" for name, _ in zero_shot.accuracies(torch.zeros(3), [None] * 3, 12)]
    names = set(names_of(retrieval=True, zero_shot=True)) - set(OF_SYSTEMS)
    assert sorted(names) == sorted(n for n in given if not n.endswith("_chance"))


@pytest.mark.parametrize(
    ("metric", "retrieval", "zero_shot", "says"),
    [
        (None, True, False, None),
        ("retrieval/text_to_image_r@5", True, False, None),
        ("zero_shot/held_out/top1", False, True, None),
        ("zero_shot/held_out/top1", True, False, "no such score"),
        ("retrieval/text_to_image_r@6", True, True, "did you mean 'retrieval/text_to_image_r@[15]'"),
        ("accuracy", False, True, "there will be zero_shot/top1, zero_shot/top5"),
    ],
)
def test_a_metric_that_will_not_be_is_refused(
    metric: str | None, retrieval: bool, zero_shot: bool, says: str | None
) -> None:
    if says is None:
        check_metric(metric, retrieval=retrieval, zero_shot=zero_shot)
    else:
        with pytest.raises(UserError, match=says):
            check_metric(metric, retrieval=retrieval, zero_shot=zero_shot)
