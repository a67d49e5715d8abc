"""One thumbnail laid over another, as far as a crop may have moved it: a place is what was scaled and shifted.

Scale and shift of each axis, gain and offset are fitted by Gauss-Newton (Lucas and Kanade, An iterative image
registration technique, IJCAI 1981) with Tukey's weights, so that what was written over a picture does not pull at it.
Compiled by numba.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

SIDE = 16
PIXELS = SIDE * SIDE
KEPT = 0.75  # share of the pixels that has to agree: writing may cover the others

Picture = NDArray[np.float32]  # [256], row by row
Mask = NDArray[np.bool_]
Place = NDArray[np.float64]  # scale and shift across, scale and shift down, gain, offset

_SCALE, _SHIFT = 0.14, 1.2  # a crop by a twentieth on each side scales by 1.11
_BINS = 512  # of half a grey level, for quantiles of differences


@njit(cache=True, nogil=True)
def sample(picture: Picture, y: float, x: float) -> float:
    """The value between the middles of pixels."""
    x = min(max(x, 0.0), SIDE - 1.001)
    y = min(max(y, 0.0), SIDE - 1.001)
    column, row = int(x), int(y)
    right, down = x - column, y - row
    at = row * SIDE + column
    top = picture[at] * (1 - right) + picture[at + 1] * right
    bottom = picture[at + SIDE] * (1 - right) + picture[at + SIDE + 1] * right
    return top * (1 - down) + bottom * down


@njit(cache=True, nogil=True)
def lay(picture: Picture, place: Place, laid: Picture, inside: Mask) -> None:
    """Fills in the picture as it is seen through the place."""
    middle = (SIDE - 1) / 2
    for row in range(SIDE):
        y = middle + place[2] * (row - middle) + place[3]
        for column in range(SIDE):
            x = middle + place[0] * (column - middle) + place[1]
            inside[row * SIDE + column] = -0.5 <= x <= SIDE - 0.5 and -0.5 <= y <= SIDE - 0.5
            laid[row * SIDE + column] = sample(picture, y, x)


@njit(cache=True, nogil=True)
def residuals(first: Picture, laid: Picture, inside: Mask, place: Place, residual: Picture, kept: Mask) -> float:
    """Fills in what gain and offset leave, and which pixels agree well enough to be kept; the median of its size."""
    counts = np.zeros(_BINS, np.int64)
    total = 0
    for pixel in range(PIXELS):
        residual[pixel] = first[pixel] - (place[4] * laid[pixel] + place[5])
        if inside[pixel]:
            counts[min(int(2 * abs(residual[pixel])), _BINS - 1)] += 1
            total += 1
    middle, seen = -1.0, 0
    for bin_ in range(_BINS):
        seen += counts[bin_]
        if middle < 0 and 2 * seen >= total:
            middle = (bin_ + 0.5) / 2
        if seen >= KEPT * total:
            break
    edge = (bin_ + 1) / 2 if bin_ < _BINS - 1 else np.inf
    for pixel in range(PIXELS):
        kept[pixel] = inside[pixel] and abs(residual[pixel]) < edge
    return middle


@njit(cache=True, nogil=True)
def improve(first: Picture, second: Picture, inside: Mask, residual: Picture, reach: float, place: Place) -> None:
    """A step of Gauss-Newton on the place, with Tukey's weights: none beyond `reach`."""
    hessian = np.diag(np.array([6.4, 0.1, 6.4, 0.1, 1e-3, 1e-3]))
    towards = np.zeros(6)
    slopes = np.empty(6)
    middle = (SIDE - 1) / 2
    for row in range(SIDE):
        v = row - middle
        y = middle + place[2] * v + place[3]
        for column in range(SIDE):
            pixel = row * SIDE + column
            part = abs(residual[pixel]) / reach
            if not inside[pixel] or part >= 1:
                continue
            u = column - middle
            x = middle + place[0] * u + place[1]
            across = place[4] * (sample(second, y, x + 0.5) - sample(second, y, x - 0.5))
            down = place[4] * (sample(second, y + 0.5, x) - sample(second, y - 0.5, x))
            slopes[0], slopes[1], slopes[2], slopes[3] = across * u, across, down * v, down
            slopes[4], slopes[5] = (first[pixel] - residual[pixel] - place[5]) / place[4], 1.0
            weight = (1 - part * part) ** 2
            for i in range(6):
                pull = weight * slopes[i]
                towards[i] += pull * residual[pixel]
                for j in range(i + 1):
                    hessian[i, j] += pull * slopes[j]
    for i in range(6):
        for j in range(i):
            hessian[j, i] = hessian[i, j]
    place += np.linalg.solve(hessian, towards)
    for axis in (0, 2):
        place[axis] = min(max(place[axis], 1 - _SCALE), 1 + _SCALE)
        place[axis + 1] = min(max(place[axis + 1], -_SHIFT), _SHIFT)
    place[4] = min(max(place[4], 0.25), 4.0)
