"""Clusters of vectors, and the pairs that are near within them."""

import numpy as np
import pytest

from vlp_core.curation.scores import Floats
from vlp_core.curation.semantic import LARGEST, clusters, near_pairs


def bundles(count: int, each: int, spread: float) -> Floats:
    """Unit vectors [count * each, 32] around `count` directions."""
    draw = np.random.default_rng(5)
    vectors = np.repeat(draw.standard_normal((count, 32)), each, axis=0) + spread * draw.standard_normal(
        (count * each, 32)
    )
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_each_row_is_in_one_cluster_and_what_is_near_is_mostly_in_the_same() -> None:
    vectors = bundles(200, 10, 0.1)
    rows = list(clusters(vectors, 100, 0))
    assert sorted(np.concatenate(rows)) == list(range(2000)) and len(rows) > 10
    assert [part.tolist() for part in clusters(vectors, 100, 0)] == [part.tolist() for part in rows]
    label = np.empty(2000, int)
    for number, part in enumerate(rows):
        label[part] = number
    together = [(label[left] == label[right]).mean() for left, right, _ in near_pairs(vectors, 0.95)]
    assert np.mean(together) > 0.98


def test_vectors_that_cannot_be_parted_are_no_cluster_of_all() -> None:
    """Their pairs would be too many to hold."""
    rows = list(clusters(np.tile(bundles(1, 1, 0.0), (3000, 1)), 100, 0))
    assert max(map(len, rows)) <= LARGEST * 100 and sum(map(len, rows)) == 3000


@pytest.mark.parametrize("count", [0, 1, 1500])
def test_near_pairs_are_those_of_the_whole_matrix(count: int) -> None:
    vectors = bundles(150, 10, 0.2)[:count]
    found = {(int(i), int(j)): float(c) for chunk in near_pairs(vectors, 0.9) for i, j, c in zip(*chunk, strict=True)}
    cosines = vectors @ vectors.T
    expected = {(i, j) for i, j in zip(*np.nonzero(np.triu(cosines, 1) > 0.9), strict=True)}
    assert found.keys() == expected and (count < 2 or len(found) > 1000)
    assert all(cosine == pytest.approx(cosines[pair], abs=1e-5) for pair, cosine in found.items())
