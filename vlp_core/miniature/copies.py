"""Near copies: the same picture as another site would show it."""

import io

import numpy as np
from PIL import Image

from vlp_core.miniature.draw import jpeg

WAYS = ("recompressed", "resized", "brightened", "cropped")


def altered(body: bytes, way: str, rng: np.random.Generator) -> bytes:
    """An altered copy of a JPEG; `way` is one of `WAYS`, each mild: a fifth of the size, a hundredth of the light."""
    image: Image.Image = Image.open(io.BytesIO(body))
    quality = int(rng.integers(78, 93))
    if way == "recompressed":
        quality = int(rng.integers(60, 82))
    elif way == "resized":
        scale = float(rng.uniform(max(0.8, 201 / min(image.size)), 1.2))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    elif way == "brightened":
        gain = 1 + 0.012 * (1 if rng.random() < 0.5 else -1)
        image = image.point(lambda value: min(255, round(value * gain)))
    elif way == "cropped":
        left, top = (int(side) for side in rng.integers(0, 2, 2))
        image = image.crop((left, top, image.width - (1 - left), image.height - (1 - top)))
    else:
        raise ValueError(f"{way}: no way to alter a picture")
    return jpeg(image, quality)
