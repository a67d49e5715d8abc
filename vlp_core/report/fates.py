"""What became of what was planted: a table of kinds by fates, and the precision and recall of each judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.curation.truth import FAULTY, LEAK

SELECTED, NOT_FETCHED = "selected", "not fetched"
# What takes pictures after the rules, and what the page calls it.
COPIES, SEMANTIC, BALANCE, AT_MOST = "copies", "copies by meaning", "balancing", "more than asked for"
EVALUATION, OTHER_SETS = "in evaluation sets", "in other data sets"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Rows of which the truth is known, an array each.

    kind    what they are
    origin  the uid of the picture that they show, however often it is copied
    fate    what took them, or `selected`
    group   the uid of the picture that stays for all that were taken for copies of it
    """

    kind: pa.Array
    origin: pa.Array
    fate: pa.Array
    group: pa.Array


@dataclass(frozen=True)
class Score:
    """What a judge took: rightly, wrongly, and what it missed."""

    name: str
    right: int
    wrong: int
    missed: int
    said: str

    @property
    def precision(self) -> float | None:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        return self.right / (self.right + self.missed) if self.right + self.missed else None


@dataclass(frozen=True)
class Truth:
    """Fates in order, and of each planted kind how many met each; scores of judges.

    known  how many of the rows `listed` the truth has
    """

    known: int
    listed: int
    fates: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]
    scores: Sequence[Score]


def matrix(planted: Planted, order: Sequence[str]) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Of each kind how many met each fate; fates in the given order, as far as any met them."""
    met = set(pc.unique(planted.fate).to_pylist())
    told = [fate for fate in dict.fromkeys(order) if fate in met]
    names, codes = np.unique(planted.kind.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    places = pc.index_in(planted.fate, value_set=pa.array(told, pa.string())).to_numpy()
    counts = np.zeros((len(names), len(told)), np.int64)
    np.add.at(counts, (codes, places), 1)
    by_size = np.argsort(-counts.sum(axis=1), kind="stable")
    return told, [(str(names[at]), counts[at].tolist()) for at in by_size]


def scores(planted: Planted, rules: Sequence[str]) -> list[Score]:
    """Of the rules, of dedup and of decontamination, each of the pictures that came to it.

    Rules take a good picture wrongly where none of its copies passes them, which counts once: that one of ten goes is
    no loss, nor that what is of an evaluation set does. What went since another data set has it did not come to
    decontamination, whichever was asked first.
    """
    fate = planted.fate.to_numpy(zero_copy_only=False).astype(str)
    kind = planted.kind.to_numpy(zero_copy_only=False).astype(str)
    fetched = fate != NOT_FETCHED
    taken, faulty = np.isin(fate, list(rules)), np.isin(kind, FAULTY)
    passed = fetched & ~taken
    leaks, went, other = kind == LEAK, _removed(planted, fate, EVALUATION), _removed(planted, fate, OTHER_SETS)
    came = passed & ~other
    good = fetched & ~faulty & ~leaks
    lost = _distinct(planted.origin, good) - _distinct(planted.origin, good & passed)
    return [
        Score(
            "rules",
            int((taken & faulty).sum()),
            lost,
            int((passed & faulty).sum()),
            f"fetched pictures of kind {', '.join(FAULTY)}; wrong: good ones of which no copy passes",
        ),
        _dedup(planted, passed),
        _score(
            "decontamination",
            went & came,
            leaks & came,
            "pictures of an evaluation set that pass the rules and are in no other data set",
        ),
    ]


def _score(name: str, taken: np.ndarray, meant: np.ndarray, said: str) -> Score:
    return Score(name, int((taken & meant).sum()), int((taken & ~meant).sum()), int((meant & ~taken).sum()), said)


def _distinct(names: pa.Array, which: np.ndarray) -> int:
    return len(pc.unique(names.filter(pa.array(which))))


def _removed(planted: Planted, fate: np.ndarray, where: str) -> np.ndarray:
    """What went with its group, whichever of its copies is there."""
    gone = pc.filter(planted.group, pa.array(fate == where))
    return pc.is_in(planted.group, value_set=gone).to_numpy(zero_copy_only=False)


def _dedup(planted: Planted, passed: np.ndarray) -> Score:
    """Pairs of pictures that pass the rules: which show the same, and which were taken for copies."""
    origin, group = (
        pc.dictionary_encode(of.filter(pa.array(passed))).indices.to_numpy().astype(np.int64)
        for of in (planted.origin, planted.group)
    )
    both = np.unique(np.stack([origin, group]), axis=1, return_counts=True)[1] if len(origin) else np.empty(0, np.int64)
    right, same, merged = (_pairs(sizes) for sizes in (both, np.bincount(origin), np.bincount(group)))
    return Score(
        "dedup", right, merged - right, same - right, "pairs of copies, among the pictures that pass the rules"
    )


def _pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
