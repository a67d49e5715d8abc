"""What a picture looks like in 456 bytes: a hash of its shapes, a signature of its colours, a grey thumbnail.

A hash of grey values alone takes simple drawings for copies of one another (the same scene in another colour has nearly
the same hash), so that two pictures are near only if hash and colours agree. The grey thumbnail is for the second look
(see `alike`), which lays two of them over one another.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlp_core.errors import first_line

SIDE = 32  # pixels of the thumbnail both are made from
BITS_SIDE = 8  # low frequencies a side: 8 × 8 = 64 bits
COLOUR_SIDE = 8
NEAR_BITS = 4  # that may differ, where nothing else is said
COLOUR_BYTES = COLOUR_SIDE * COLOUR_SIDE * 3
GREY_SIDE = 16
GREY_BYTES = GREY_SIDE * GREY_SIDE

_DECODED_SIDE = 4 * SIDE  # a JPEG is shrunk while it is decoded, never below this
_MARGIN = 8.0  # a quarter of a grey level over the whole thumbnail: above what encoding anew changes
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def cosines(size: int, frequencies: int) -> NDArray[np.float64]:
    """The first rows of the orthonormal DCT-II matrix, [frequencies, size]."""
    rows = np.cos(np.pi / size * np.outer(np.arange(frequencies), np.arange(size) + 0.5)) * np.sqrt(2 / size)
    rows[0] /= np.sqrt(2)
    return rows


def _binomial() -> NDArray[np.float64]:
    """Every other pixel's surroundings by binomial weights, those beyond an edge at the edge: [16, 32]."""
    weights = np.poly1d([0.5, 0.5]) ** 7
    rows = np.zeros((GREY_SIDE, SIDE))
    for row in range(GREY_SIDE):
        for tap, weight in enumerate(weights.coeffs):
            rows[row, min(max(2 * row + tap - 3, 0), SIDE - 1)] += weight
    return rows


_SMOOTHED = _binomial()
_DCT = cosines(SIDE, BITS_SIDE)
_BIT = np.uint64(1) << np.arange(64, dtype=np.uint64)


def thumbnail(body: bytes) -> NDArray[np.uint8]:
    """The picture squeezed to RGB [32, 32, 3]; OSError where it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(body)) as image:
            image.draft("RGB", (_DECODED_SIDE, _DECODED_SIDE))
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    except Exception as error:  # decoders raise what they like
        raise OSError(first_line(error)) from error
    return np.asarray(small, dtype=np.uint8)


def phash(small: NDArray[np.uint8]) -> np.uint64:
    """64 bits of a thumbnail [32, 32, 3]: which low frequencies of its grey values lie clearly above their median.

    The 8 × 8 lowest DCT-II coefficients against the median of all but the mean's, whose bit is 0; bit 8 v + u stands
    for the vertical frequency v and the horizontal u. After Zauner, Implementation and Benchmarking of Perceptual Image
    Hash Functions, 2010, section 3.2.1; unlike there, a coefficient must pass the median by `_MARGIN`: a symmetric
    drawing has many that are zero but for noise, and their bits would be drawn anew at each encoding.
    """
    low = (_DCT @ (small @ _LUMA) @ _DCT.T).ravel()
    bits = low > np.median(low[1:]) + _MARGIN
    bits[0] = False
    return np.bitwise_or.reduce(_BIT[bits], initial=np.uint64(0))


def colours(small: NDArray[np.uint8]) -> bytes:
    """The mean colour of each of 8 × 8 fields of a thumbnail, as 192 bytes (row by row, RGB)."""
    step = SIDE // COLOUR_SIDE
    fields = small.reshape(COLOUR_SIDE, step, COLOUR_SIDE, step, 3).mean(axis=(1, 3))
    return np.rint(fields).astype(np.uint8).tobytes()


def grey(small: NDArray[np.uint8]) -> bytes:
    """The luma of a thumbnail smoothed to 16 × 16, as 256 bytes (row by row).

    By binomial weights over 8 pixels and not by means of fields: what lies between the pixels, where a crop moves them,
    then follows from those around.
    """
    return np.rint(_SMOOTHED @ (small @ _LUMA) @ _SMOOTHED.T).astype(np.uint8).tobytes()


def hamming(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits differ, elementwise."""
    return np.bitwise_count(left ^ right)
