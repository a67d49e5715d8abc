"""The names of the scores; free of torch, so that what cannot be asked for is known before anything is made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vlp_core.errors import UserError, nearest

DIRECTIONS = ("text_to_image", "image_to_text")
RECALL_CUTS = (1, 5, 10)
TOP_CUTS = (1, 5)
QUERIES = "queries.png"
"""What an evaluation draws of the pictures that queries found."""
MARGINS = {"captions/cider": 0.3, "retrieval/text_to_image_r@10": 0.2, "matching/accuracy": 0.15}
"""What a system is known by, and how far ahead of its untrained self that has to be for a sign that it learns."""
RETRIEVAL, BY_TOWERS, ON_FIRST = "retrieval", "retrieval_dual", "retrieval_first"
"""Retrieval over the whole set; that of a fusion's two towers before it ranks again; that on the first pictures alone,
which is another measurement and an easier one."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a system has, of what can be scored: two towers; a head that matches, one that reads behind masks, and a
    decoder."""

    compares: bool
    matches: bool = False
    reads: bool = False
    writes: bool = False

    def retrieves(self, *, dual: bool) -> str | None:
        """The name of its retrieval; `dual`: another model brings candidates to a fusion that has no towers."""
        if self.compares or (self.matches and dual):
            return RETRIEVAL
        return ON_FIRST if self.matches else None


def recall_name(direction: str, k: int) -> str:
    return f"{direction}_r@{k}"


def names_of(parts: Parts, *, retrieval: bool, zero_shot: bool, dual: bool = False) -> list[str]:
    """The scores that these sets give of such a system, those of the groups of a zero-shot set left out."""
    names = [f"zero_shot/top{k}" for k in TOP_CUTS] if zero_shot and parts.compares else []
    if not retrieval:
        return names
    towers = BY_TOWERS if parts.compares and parts.matches else None
    for kind in filter(None, (parts.retrieves(dual=dual), towers)):
        names += [f"{kind}/{recall_name(direction, k)}" for direction in DIRECTIONS for k in RECALL_CUTS]
    names += ["matching/accuracy"] if parts.matches else []
    names += ["masked_words/accuracy"] if parts.reads else []
    return names + (["captions/cider", "captions/bleu4"] if parts.writes else [])


def own_metric(scores: Mapping[str, float]) -> str:
    """What a system with these scores is known by: what it writes, else what its space finds, else what it matches."""
    recall = f"{RETRIEVAL}/{recall_name(DIRECTIONS[0], 10)}"
    compares = "matching/accuracy" not in scores or any(name.startswith(f"{BY_TOWERS}/") for name in scores)
    return "captions/cider" if "captions/cider" in scores else recall if compares else "matching/accuracy"


def check_metric(
    metric: str | None,
    recipe: str,
    parts: Parts,
    *,
    retrieval: bool,
    zero_shot: bool,
    dual: bool = False,
    flag: str = "--register.metric",
) -> None:
    """UserError where an evaluation on these sets says nothing of the system, or will not give that score."""
    names = names_of(parts, retrieval=retrieval, zero_shot=zero_shot, dual=dual)
    if not names:
        all_of_them = names_of(parts, retrieval=True, zero_shot=True, dual=dual)
        raise UserError(
            f"a {recipe} cannot be scored on a zero-shot set: it has {', '.join(all_of_them)}; "
            "give --eval.retrieval LIST too"
        )
    of_a_group = names[0].startswith("zero_shot/") and re.fullmatch(r"zero_shot/.+/top[15]", metric or "")
    if metric is not None and metric not in names and not of_a_group:
        near = nearest(metric, names)
        hint = near if "did you mean" in near else ""
        raise UserError(f"{flag} {metric}: no such score{hint} (of a {recipe} there will be {', '.join(names)})")
