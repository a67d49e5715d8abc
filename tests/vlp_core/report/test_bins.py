"""Bins hold every value, whatever values are like."""

import numpy as np
import pytest

from vlp_core.report.bins import bins_of, short

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "log", "whole"),
    [
        (RNG.integers(1, 30, 500), False, True),
        (np.concatenate([RNG.integers(1, 20, 5000), [5000]]), False, True),
        (np.exp(RNG.normal(9, 2, 500)), True, False),
        (RNG.normal(0.25, 0.05, 500), False, False),
        (np.full(10, 0.5), False, False),
        (np.zeros(10), False, True),
        (np.empty(0), False, False),
    ],
    ids=["whole", "whole with one far off", "sizes", "scores", "one value", "zeros", "none"],
)
def test_every_value_is_in_a_bin(values: np.ndarray, log: bool, whole: bool) -> None:
    bins = bins_of(values)
    assert bins.counts(values).sum() == len(values)
    assert (bins.log, bins.whole) == (log, whole) and len(bins) <= 42
    assert all(bins.edges[0] <= tick <= bins.edges[-1] for tick in bins.ticks())
    if whole:
        middle = int(np.median(values))
        assert bins.counts(np.array([middle]))[[bins.label(at) for at in range(len(bins))].index(str(middle))] == 1


@pytest.mark.parametrize(
    ("value", "said"), [(0.28, "0.28"), (200, "200"), (12_340, "12.3 k"), (3.2e6, "3.2 M"), (3449.5, "3,450")]
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert short(value) == said
