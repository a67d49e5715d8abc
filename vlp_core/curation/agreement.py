"""Whether two thumbnails show one picture: one is laid over the other, mirrored or not, as far as a crop may move it.

A place is what was scaled and shifted: scale and shift of each axis, gain and offset are fitted by Gauss-Newton (Lucas
and Kanade, An iterative image registration technique, IJCAI 1981) with Tukey's weights, so that what was written over a
picture does not pull at it. Compiled by numba, whose cache knows of changes to a function's own file alone: all that
`agree` calls stands here.
"""

import numpy as np
from numpy.typing import NDArray

from vlp_core.compiled import njit

SIDE, FIELDS = 16, 8  # of the grey thumbnail and of the colour signature
PIXELS = SIDE * SIDE

Bytes = NDArray[np.uint8]
Picture = NDArray[np.float32]  # [256], row by row
Mask = NDArray[np.bool_]
Place = NDArray[np.float64]  # scale and shift across, scale and shift down, gain, offset

_SCALE, _SHIFT = 0.14, 1.2  # a crop by a twentieth on each side scales by 1.11
_BINS = 512  # of half a grey level, for quantiles of differences
_KEPT = 0.75  # share of the pixels that has to agree: writing may cover the others
_CLOSE = 4.0  # grey levels: what differs by less is kept in any case
_STEPS = 4  # of Gauss-Newton; most pairs agree, or plainly do not, after two
_LOOSE = 0.85  # a correlation below this after two steps will not come to be one above 0.9
_FLAT = 0.7  # grey levels: what has less contrast has nothing to be laid over one another by
_AROUND = 2  # pixels on each side: detail is what differs from the mean of so many
_EDGE = 8.0  # grey levels that detail is cut at: a horizon or a black bar is no more than what is fine
_SHOWN = 0.3  # share of the contrast that is in what is kept: else what the picture shows was left out
_WRITTEN = 5  # rows that may differ wholly, for text runs along rows
_STRAY = 0.03  # share of the other rows' pixels that may
_TINT = 0.6  # what colours less their light may differ by, of what colours may
_OFF, _MORE = 3.0, 0.35  # grey levels, and share of the deviation, beyond which a pixel differs


@njit(nogil=True)
def agree(
    grey: Bytes,
    other_grey: Bytes,
    colour: Bytes,
    other_colour: Bytes,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    mirrored: Mask,
    least: float,
    most: float,
) -> Mask:
    """For each pair (row of the one, row of the other, which is mirrored or not): whether they show one picture.

    grey uint8 [N, 256] and colour uint8 [N, 192] as in HASHES; `least` correlation of the whole and of the
    details; `most` difference of colours.
    """
    found = np.zeros(len(left), np.bool_)
    first, second = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    laid, residual = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    details, other_details = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    inside, kept = np.empty(PIXELS, np.bool_), np.empty(PIXELS, np.bool_)
    for pair in range(len(left)):
        one, other, turned = left[pair], right[pair], mirrored[pair]
        if not _tints_may_agree(colour[one], other_colour[other], turned, most):
            continue
        for pixel in range(PIXELS):
            first[pixel] = grey[one, pixel]
            second[pixel] = other_grey[other, pixel ^ (SIDE - 1) if turned else pixel]
        place = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
        for step in range(_STEPS + 1):
            _lay(second, place, laid, inside)
            middle = _residuals(first, laid, inside, place, residual, kept)
            correlation = _correlation(first, laid, kept)
            if (
                correlation >= least
                and _tint_apart(colour[one], other_colour[other], turned, place, kept) <= _TINT * most
            ):
                _detail(first, kept, details)
                _detail(laid, kept, other_details)
                if _correlation(details, other_details, kept) >= least and _only_written_over(
                    first, laid, residual, inside, kept
                ):
                    found[pair] = True
                    break
            if step == _STEPS or (step == 2 and correlation < _LOOSE):
                break
            _improve(first, second, inside, residual, 4 * (1.48 * middle + 1), place)
    return found


@njit(nogil=True)
def _tints_may_agree(one: Bytes, other: Bytes, turned: bool, most: float) -> bool:
    """Not so where half of what has to agree is three times too far apart, whatever a crop moved, whatever the light:
    cheap, and first.
    """
    far = 0
    for field in range(FIELDS * FIELDS):
        there = field ^ (FIELDS - 1) if turned else field
        red = int(one[3 * field]) - int(other[3 * there])
        green = int(one[3 * field + 1]) - int(other[3 * there + 1])
        blue = int(one[3 * field + 2]) - int(other[3 * there + 2])
        light = red + green + blue
        apart = abs(3 * red - light) + abs(3 * green - light) + abs(3 * blue - light)
        far += apart > 9 * 3 * _TINT * most
    return far <= FIELDS * FIELDS * (1 - _KEPT / 2)


@njit(nogil=True)
def _only_written_over(first: Picture, laid: Picture, residual: Picture, inside: Mask, kept: Mask) -> bool:
    """Whether what differs is rows of text, and what is kept is what both show."""
    bound = _SHOWN * min(_variance(first, inside), _variance(laid, inside))
    if min(_variance(first, kept), _variance(laid, kept)) < bound:
        return False
    edge = _OFF + _MORE * np.sqrt(_variance(first, inside))
    off, seen = np.zeros(SIDE, np.int64), np.zeros(SIDE, np.int64)
    for pixel in range(PIXELS):
        if inside[pixel]:
            seen[pixel // SIDE] += 1
            off[pixel // SIDE] += abs(residual[pixel]) > edge
    for _ in range(_WRITTEN):
        worst = off.argmax()
        off[worst] = seen[worst] = 0
    return off.sum() <= _STRAY * seen.sum()


@njit(nogil=True)
def _variance(picture: Picture, kept: Mask) -> float:
    n, total, square = 0, 0.0, 0.0
    for pixel in range(PIXELS):
        if kept[pixel]:
            n += 1
            total += picture[pixel]
            square += picture[pixel] * picture[pixel]
    return square / n - (total / n) ** 2


@njit(nogil=True)
def _correlation(first: Picture, laid: Picture, kept: Mask) -> float:
    """Of the pixels that are kept."""
    n, sum_a, sum_b, sum_aa, sum_bb, sum_ab = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for pixel in range(PIXELS):
        if kept[pixel]:
            a, b = float(first[pixel]), float(laid[pixel])
            n += 1
            sum_a += a
            sum_b += b
            sum_aa += a * a
            sum_bb += b * b
            sum_ab += a * b
    variance, other = sum_aa / n - (sum_a / n) ** 2, sum_bb / n - (sum_b / n) ** 2
    if min(variance, other) < _FLAT**2:
        return 0.0
    return (sum_ab / n - sum_a * sum_b / n**2) / np.sqrt(variance * other)


@njit(nogil=True)
def _detail(picture: Picture, kept: Mask, detail: Picture) -> None:
    """Fills in what each pixel is above the mean of those kept around it."""
    for row in range(SIDE):
        for column in range(SIDE):
            total, n = 0.0, 0
            for y in range(max(row - _AROUND, 0), min(row + _AROUND + 1, SIDE)):
                for x in range(max(column - _AROUND, 0), min(column + _AROUND + 1, SIDE)):
                    if kept[y * SIDE + x]:
                        total += picture[y * SIDE + x]
                        n += 1
            above = picture[row * SIDE + column] - total / max(n, 1)
            detail[row * SIDE + column] = min(max(above, -_EDGE), _EDGE)


@njit(nogil=True)
def _tint_apart(one: Bytes, other: Bytes, turned: bool, place: Place, kept: Mask) -> float:
    """The mean absolute difference of the fields' colours less their light, the other's seen through the place.

    Of the fields whose pixels are kept. Light is left out: it was laid over already, with less of a crop's noise.
    """
    n, total, tint = 0, 0.0, np.empty(3)
    middle, ratio = (FIELDS - 1) / 2, SIDE / FIELDS
    for row in range(FIELDS):
        y = min(max(middle + place[2] * (row - middle) + place[3] / ratio, 0.0), FIELDS - 1.001)
        for column in range(FIELDS):
            pixel = 2 * row * SIDE + 2 * column
            if int(kept[pixel]) + kept[pixel + 1] + kept[pixel + SIDE] + kept[pixel + SIDE + 1] < 3:
                continue
            x = min(max(middle + place[0] * (column - middle) + place[1] / ratio, 0.0), FIELDS - 1.001)
            r, c = int(y), int(x)
            light = 0.0
            for channel in range(3):
                seen = 0.0
                for j in range(2):
                    for i in range(2):
                        there = FIELDS - 1 - c - i if turned else c + i
                        weight = (x - c if i else 1 - x + c) * (y - r if j else 1 - y + r)
                        seen += weight * other[3 * (FIELDS * (r + j) + there) + channel]
                tint[channel] = one[3 * (FIELDS * row + column) + channel] - seen
                light += tint[channel] / 3
            total += (abs(tint[0] - light) + abs(tint[1] - light) + abs(tint[2] - light)) / 3
            n += 1
    return total / n if n else np.inf


@njit(nogil=True)
def _sample(picture: Picture, y: float, x: float) -> float:
    """The value between the middles of pixels."""
    x = min(max(x, 0.0), SIDE - 1.001)
    y = min(max(y, 0.0), SIDE - 1.001)
    column, row = int(x), int(y)
    right, down = x - column, y - row
    at = row * SIDE + column
    top = picture[at] * (1 - right) + picture[at + 1] * right
    bottom = picture[at + SIDE] * (1 - right) + picture[at + SIDE + 1] * right
    return top * (1 - down) + bottom * down


@njit(nogil=True)
def _lay(picture: Picture, place: Place, laid: Picture, inside: Mask) -> None:
    """Fills in the picture as it is seen through the place."""
    middle = (SIDE - 1) / 2
    for row in range(SIDE):
        y = middle + place[2] * (row - middle) + place[3]
        for column in range(SIDE):
            x = middle + place[0] * (column - middle) + place[1]
            inside[row * SIDE + column] = -0.5 <= x <= SIDE - 0.5 and -0.5 <= y <= SIDE - 0.5
            laid[row * SIDE + column] = _sample(picture, y, x)


@njit(nogil=True)
def _residuals(first: Picture, laid: Picture, inside: Mask, place: Place, residual: Picture, kept: Mask) -> float:
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
        if seen >= _KEPT * total:
            break
    edge = max((bin_ + 1) / 2, _CLOSE) if bin_ < _BINS - 1 else np.inf
    for pixel in range(PIXELS):
        kept[pixel] = inside[pixel] and abs(residual[pixel]) < edge
    return middle


@njit(nogil=True)
def _improve(first: Picture, second: Picture, inside: Mask, residual: Picture, reach: float, place: Place) -> None:
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
            across = place[4] * (_sample(second, y, x + 0.5) - _sample(second, y, x - 0.5))
            down = place[4] * (_sample(second, y + 0.5, x) - _sample(second, y - 0.5, x))
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
