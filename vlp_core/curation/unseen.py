"""How many copies a whole has, by those within a sample of it.

A copy shows in a sample only together with what it is a copy of: of pictures in pairs, a share f of the whole shows f²
of the pairs. So copies are no share of the pictures that could be multiplied, and what is asked is how large the groups
of the whole are (the number of unseen species: Goodman 1949).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 2000
_SIZES_A_DECADE = 24


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number that is not known, and between which it lies, most probably (19 times of 20)."""

    value: float
    low: float
    high: float

    @staticmethod
    def exactly(value: float) -> "Estimate":
        return Estimate(value=value, low=value, high=value)


def copies_of_whole(groups: Sequence[int] | NDArray[np.int64], total: float) -> Estimate:
    """Copies that go from a whole of `total` pictures, one of each group staying.

    `groups` are the sizes, from 1, of the groups within a sample that was drawn without regard to groups. The value is
    by the mixture of group sizes under which the sample is likeliest (Laird 1978), found by EM. The bounds make no
    assumption on sizes: a group shows at least as many copies in the whole, by share, as in the sample; and it has as
    many pairs as the sample's, by the share's square, of which each copy takes one or more. Both are widened by what
    chance does to a count.
    """
    sizes = np.asarray(groups, dtype=np.int64)
    drawn = int(sizes.sum())
    if drawn == 0 or total <= drawn:
        return Estimate.exactly(float(drawn - len(sizes)))
    share = drawn / total
    seen = float((sizes - 1).sum())
    pairs = float((sizes * (sizes - 1) // 2).sum())
    most = total - len(sizes)  # each group of the sample keeps one
    low = max(seen, _by_chance(seen)[0] / share)
    high = min(most, _by_chance(pairs)[1] * _pairs(total) / _pairs(drawn))
    value = total * _share_of_copies(sizes, share, total)
    return Estimate(value=float(np.clip(value, low, high)), low=min(low, high), high=high)


def _by_chance(count: float) -> tuple[float, float]:
    """Between which the mean of a Poisson count lies, 19 times of 20 (Garwood 1936)."""
    from scipy.stats import chi2

    return float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0, float(chi2.ppf(0.975, 2 * count + 2)) / 2


def _pairs(count: float) -> float:
    return max(count * (count - 1) / 2, 1.0)


def _share_of_copies(sizes: NDArray[np.int64], share: float, total: float) -> float:
    """The mean of (m - 1) / m over the pictures, m the size of a picture's group in the whole.

    A drawn picture of a group of m has j others of it beside it with a chance that is binomial in (m - 1, share).
    """
    from scipy.stats import binom

    others, counts = np.unique(np.repeat(sizes, sizes) - 1, return_counts=True)
    if others[-1] == 0:
        return 0.0
    decades = np.log10(max(total, 2.0))
    grid = np.unique(np.geomspace(1, total, int(_SIZES_A_DECADE * decades) + 2).round().astype(np.int64))
    chance = binom.pmf(others[:, None], grid[None, :] - 1, share)
    weights = grid.astype(np.float64) ** -2  # of mixtures that are as likely, one with small groups
    weights /= weights.sum()
    for _ in range(_ROUNDS):
        joint = chance * weights
        joint /= np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        weights = counts @ joint / counts.sum()
    return float((weights * (grid - 1) / grid).sum())
