"""Near copies: the same picture as another site would show it."""

import io

import numpy as np
from PIL import Image

from vlp_core.miniature.draw import jpeg

WAYS = ("recompressed", "resized", "brightened", "cropped")
TRIES = 12
STEADY_BITS = 1  # of 64: a copy that changes no more stays near after one more recompression, too


def altered(body: bytes, way: str, rng: np.random.Generator) -> bytes:
    """An altered copy of a JPEG; of some tries, the first (or else the best) that leaves its low frequencies alone.

    Perceptual hashes compare low frequencies with a threshold, and a drawing may have many close to it: without this, one
    copy in fifty would change more bits than a photo's copy does.
    """
    original = _low_frequencies(body)
    best, fewest = b"", 65
    for _ in range(TRIES):
        copy = _alter(body, way, rng)
        bits = _changed_bits(original, _low_frequencies(copy))
        if bits < fewest:
            best, fewest = copy, bits
        if fewest <= STEADY_BITS:
            break
    return best


def _alter(body: bytes, way: str, rng: np.random.Generator) -> bytes:
    image: Image.Image = Image.open(io.BytesIO(body))
    quality = int(rng.integers(78, 93))
    if way == "recompressed":
        quality = int(rng.integers(60, 82))
    elif way == "resized":
        scale = float(rng.uniform(max(0.8, 201 / min(image.size)), 1.2))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    elif way == "brightened":
        gain = 1 + float(rng.uniform(0.004, 0.012)) * (1 if rng.random() < 0.5 else -1)
        image = image.point(lambda value: min(255, round(value * gain)))
    elif way == "cropped":
        left, top, right, bottom = (int(side) for side in rng.integers(0, 2, 4))
        image = image.crop((left, top, image.width - right, image.height - max(bottom, 1 - left - top - right)))
    else:
        raise ValueError(f"{way}: no way to alter a picture")
    return jpeg(image, quality)


def _low_frequencies(body: bytes) -> np.ndarray:
    """The 8 x 8 lowest DCT-II coefficients of the picture at 32 x 32 grey values, without the mean's."""
    image = Image.open(io.BytesIO(body)).convert("RGB").resize((32, 32), Image.Resampling.BOX).convert("L")
    cosines = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5)) / 4
    cosines[0] /= np.sqrt(2)
    return (cosines @ np.asarray(image, np.float64) @ cosines.T).ravel()[1:]


def _changed_bits(left: np.ndarray, right: np.ndarray) -> int:
    """Bits of a perceptual hash that differ, at the worse of two usual thresholds: the median, and a little above it."""
    return max(
        int(((left > np.median(left) + above) != (right > np.median(right) + above)).sum()) for above in (0.0, 8.0)
    )
