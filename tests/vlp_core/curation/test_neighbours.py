"""Neighbours of descriptors by way of a tree, against comparing all with all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vlp_core.curation import neighbours
from vlp_core.curation.neighbours import Small, candidates, candidates_within, placed, tree_of

WIDTH = len(neighbours._mirroring())
COSINE = 0.9


def around(seed: int, rows: int, noise: float = 0.25) -> Small:
    """Directions [rows, WIDTH], each tenth of them near to the one before it, and the first without contrast."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(rows, WIDTH))
    drawn[9::10] = drawn[8::10] + noise * rng.normal(size=(len(drawn[9::10]), WIDTH))
    drawn *= neighbours.UNIT / np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn[0] = 0
    return np.rint(drawn).astype(np.int8)


def brute(one: Small, other: Small) -> set[tuple[int, int, bool]]:
    turned = other * neighbours._mirroring().astype(np.int8)
    products = [one.astype(int) @ others.T.astype(int) for others in (other, turned)]
    return {
        (left, right, mirrored > 0)
        for mirrored, product in enumerate(products)
        for left, right in np.argwhere(product >= COSINE * neighbours.UNIT**2).tolist()
    }


def listed(chunks) -> list[tuple[int, int, bool]]:
    return [pair for chunk in chunks for pair in zip(*(column.tolist() for column in chunk), strict=True)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of three levels and tasks of few rows for sets that are soon drawn."""
    for name, value in {"_ALL_WITH_ALL": 0, "_LEAF": 16, "_FEW_A_LEAF": 16, "_FAN": 8, "_AT_ONCE": 500}.items():
        monkeypatch.setattr(neighbours, name, value)


@pytest.mark.usefixtures("small")
def test_no_node_has_more_branches_however_many_rows_there_are() -> None:
    """So work for each row grows as the logarithm of their number."""
    for rows in (200, 2000, 8000):
        tree = tree_of(around(0, rows), neighbours._LEAF)
        assert tree.fan.max() <= neighbours._FAN
        sizes = np.diff(placed(tree, around(0, rows), leaves=1).bounds)
        assert rows / 64 <= len(sizes) and sizes.max() <= 8 * neighbours._LEAF


@pytest.mark.usefixtures("small")
def test_pairs_of_one_set_come_once_and_few_are_missed() -> None:
    rows = around(2, 3000)
    found, every = listed(candidates_within(rows, COSINE)), brute(rows, rows)
    assert len(found) == len(set(found))
    assert set(found) <= {pair for pair in every if pair[0] < pair[1]}
    assert len(found) >= 0.9 * sum(left < right for left, right, _ in every) > 200


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("few_first", [False, True])
def test_pairs_of_two_sets_come_once_and_few_are_missed(few_first: bool) -> None:
    """Whichever is the smaller."""
    many = around(3, 3000)
    few = np.concatenate([around(3, 3000)[8::40], around(4, 20), many[5:15] * neighbours._mirroring().astype(np.int8)])
    one, other = (few, many) if few_first else (many, few)
    found, every = listed(candidates(one, other, COSINE)), brute(one, other)
    assert len(found) == len(set(found)) and set(found) <= every
    assert len(found) >= 0.9 * len(every) > 100
    assert {mirrored for _, _, mirrored in found} == {False, True}


@pytest.mark.usefixtures("small")
def test_what_cannot_be_parted_ends_as_one_leaf_of_which_each_meets_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: NDArray[np.int8] = np.repeat(around(5, 3)[1:2], 400, axis=0)
    monkeypatch.setattr(neighbours, "_MOST", 5)
    monkeypatch.setattr(neighbours, "_WIDEST", 20)
    found = [pair for pair in listed(candidates_within(rows, COSINE)) if not pair[2]]
    assert len(found) == sum(min(5, 399 - row) for row in range(400))
    assert all(0 < right - left <= 20 for left, right, _ in found)


def test_pictures_without_contrast_are_placed_nowhere() -> None:
    assert not listed(candidates_within(np.zeros((50, WIDTH), np.int8), COSINE))
    assert not listed(candidates(np.zeros((50, WIDTH), np.int8), around(6, 20), COSINE))
