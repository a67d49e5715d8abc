"""The names of the scores; free of torch, so that what cannot be asked for is known before anything is made."""

import re
from collections.abc import Mapping

from vlp_core.errors import UserError, nearest

DIRECTIONS = ("text_to_image", "image_to_text")
RECALL_CUTS = (1, 5, 10)
TOP_CUTS = (1, 5)
OF_SYSTEMS = ("matching/accuracy", "masked_words/accuracy", "captions/cider", "captions/bleu4")
"""What those have on a retrieval set that match, read behind masks or write."""
MARGINS = {"captions/cider": 0.3, "retrieval/text_to_image_r@10": 0.2, "matching/accuracy": 0.15}
"""What a system is known by, and how far ahead of its untrained self that has to be for a sign that it learns."""


def recall_name(direction: str, k: int) -> str:
    return f"{direction}_r@{k}"


def names_of(*, retrieval: bool, zero_shot: bool) -> list[str]:
    """The scores that these sets give, those of the groups of a zero-shot set left out."""
    names = [f"zero_shot/top{k}" for k in TOP_CUTS] if zero_shot else []
    if retrieval:
        names += [f"retrieval/{recall_name(direction, k)}" for direction in DIRECTIONS for k in RECALL_CUTS]
        names += OF_SYSTEMS
    return names


def own_metric(scores: Mapping[str, float]) -> str:
    """What a system with these scores is known by: what it writes, else what its space finds, else what it matches."""
    recall = f"retrieval/{recall_name(DIRECTIONS[0], 10)}"
    compares = "matching/accuracy" not in scores or any(name.startswith("retrieval_dual/") for name in scores)
    return "captions/cider" if "captions/cider" in scores else recall if compares else "matching/accuracy"


def check_metric(metric: str | None, *, retrieval: bool, zero_shot: bool) -> None:
    """UserError for a score that an evaluation on these sets will not give."""
    names = names_of(retrieval=retrieval, zero_shot=zero_shot)
    of_a_group = zero_shot and metric is not None and re.fullmatch(r"zero_shot/.+/top[15]", metric)
    if metric is not None and metric not in names and not of_a_group:
        near = nearest(metric, names)
        hint = near if "did you mean" in near else ""
        raise UserError(f"--register.metric {metric}: no such score{hint} (there will be {', '.join(names)})")
