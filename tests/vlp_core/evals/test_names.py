"""What can be asked of an evaluation is known before it is made."""

from contextlib import nullcontext

import pytest
import torch

from vlp_core.errors import UserError
from vlp_core.evals import retrieval, zero_shot
from vlp_core.evals.names import Parts, check_metric, names_of

CLIP = Parts(compares=True)
VILT = Parts(compares=False, matches=True, reads=True)
VIRTEX = Parts(compares=False, writes=True)


def test_the_names_are_those_that_the_evaluators_give() -> None:
    vectors = torch.eye(12)
    pairs = torch.arange(12)[:, None].expand(-1, 2)
    given = [f"retrieval/{name}" for name, _ in retrieval.recalls(vectors, vectors, pairs)]
    given += [f"zero_shot/{name}" for name, _ in zero_shot.accuracies(torch.zeros(3), [None] * 3, 12)]
    names = names_of(CLIP, retrieval=True, zero_shot=True)
    assert sorted(names) == sorted(n for n in given if not n.endswith("_chance"))


@pytest.mark.parametrize(
    ("parts", "metric", "sets", "says"),
    [
        (CLIP, None, "retrieval", None),
        (CLIP, "retrieval/text_to_image_r@5", "retrieval", None),
        (CLIP, "zero_shot/held_out/top1", "zero_shot", None),
        (CLIP, "zero_shot/held_out/top1", "retrieval", "no such score"),
        (CLIP, "retrieval/text_to_image_r@6", "retrieval zero_shot", "did you mean 'retrieval/text_to_image_r@[15]'"),
        (CLIP, "accuracy", "zero_shot", "there will be zero_shot/top1, zero_shot/top5"),
        (
            VILT,
            None,
            "zero_shot",
            "a vlm cannot be scored on a zero-shot set: it has retrieval_first/.*matching/accuracy",
        ),
        (VILT, "zero_shot/x/top1", "retrieval zero_shot", "no such score"),
        (VILT, "retrieval/text_to_image_r@1", "retrieval", "did you mean 'retrieval_first/text_to_image_r@1'"),
        (VILT, "retrieval/text_to_image_r@1", "retrieval dual", None),
        (VIRTEX, "retrieval/text_to_image_r@1", "retrieval dual", "of a vlm there will be captions/cider, captions/b"),
    ],
)
def test_a_metric_that_will_not_be_is_refused(parts: Parts, metric: str | None, sets: str, says: str | None) -> None:
    given = {name: name in sets.split() for name in ("retrieval", "zero_shot", "dual")}
    with nullcontext() if says is None else pytest.raises(UserError, match=says):
        check_metric(metric, "vlm", parts, **given)
