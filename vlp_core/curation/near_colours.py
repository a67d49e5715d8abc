"""Which pairs of colour signatures agree, compiled: imported inside functions only, for numba takes half a second."""

import numpy as np
from numpy.typing import NDArray

from vlp_core.compiled import njit


@njit(nogil=True)
def close(
    colours: NDArray[np.uint8],
    others: NDArray[np.uint8],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    limit: float,
) -> NDArray[np.bool_]:
    """Whether the mean absolute difference of each pair (row of `colours`, row of `others`) is at most `limit`."""
    width = colours.shape[1]
    found = np.empty(len(left), np.bool_)
    for pair in range(len(left)):
        one, other = colours[left[pair]], others[right[pair]]
        summed = np.int32(0)
        for k in range(width):
            summed += abs(np.int32(one[k]) - np.int32(other[k]))
        found[pair] = summed / width <= limit
    return found
