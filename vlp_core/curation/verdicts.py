"""Judging a shard's pictures and captions by rules, whole columns at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.rules import Rule

Bools = NDArray[np.bool_]

NO_CAPTION = Rule("captions", ">=", 1)  # always asked first: a pair without a text is none
LISTED = Rule("listed", "=", "yes")  # then, unless it is not wanted: another picture has nothing to do with the text


@dataclass(frozen=True)
class Verdicts:
    """Of each picture the rule it fell to (-1: none) and the captions that pass; `captions_lost` a rule."""

    rule: NDArray[np.int64]
    captions: pa.ListArray
    captions_lost: list[int]


def judged(rules: Sequence[Rule], captions: pa.ListArray, columns: Mapping[str, NDArray[np.generic]]) -> Verdicts:
    """Ask the rules in order of pictures and of each of their captions.

    `columns` has the rules' quantities: an array [pictures], or [captions], all captions one after the other. What is
    not known (nan, None) passes no rule.
    """
    owner = pc.list_parent_indices(captions).to_numpy()
    texts = pc.list_flatten(captions)
    alive = np.ones(len(texts), dtype=bool)
    fell = np.full(len(captions), -1, dtype=np.int64)
    lost = []
    for number, rule in enumerate(rules):
        before = int(alive.sum())
        passes = rule.passes(columns[rule.quantity])
        if rule.of_captions:
            alive &= passes
            standing = np.bincount(owner[alive], minlength=len(captions)) > 0
        else:
            standing = passes
            alive &= standing[owner]
        fell[(fell < 0) & ~standing] = number
        lost.append(before - int(alive.sum()))
    return Verdicts(fell, _passed(texts, owner, alive, len(captions)), lost)


def _passed(texts: pa.Array, owner: NDArray[np.int64], alive: Bools, rows: int) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[alive], minlength=rows))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), texts.filter(pa.array(alive)))
