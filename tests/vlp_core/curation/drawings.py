"""Simple drawn scenes and photo-like pictures, and what the web does to pictures."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from vlp_core.identity import generator

COLOURS = ((215, 35, 38), (34, 145, 62), (36, 84, 214), (252, 214, 36), (124, 44, 164), (22, 22, 26))
PLACES = ((0.5, 0.5), (0.25, 0.5), (0.75, 0.5), (0.5, 0.25), (0.5, 0.75))


def shape(kind: int, colour: int, place: int, *, side: int = 256) -> Image.Image:
    """One flat shape on a flat ground: the hardest picture for a perceptual hash."""
    image = Image.new("RGB", (side, side), (245, 243, 238))
    pencil = ImageDraw.Draw(image)
    x, y, r = PLACES[place][0] * side, PLACES[place][1] * side, 0.22 * side
    box = (x - r, y - r, x + r, y + r)
    if kind == 0:
        pencil.ellipse(box, fill=COLOURS[colour])
    elif kind == 1:
        pencil.rectangle(box, fill=COLOURS[colour])
    else:
        pencil.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=COLOURS[colour])
    return image


def blotches(seed: int, *, width: int = 320, height: int = 240) -> Image.Image:
    """Smooth colours without end, as in a photo."""
    coarse = generator("blotches", seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def altered(image: Image.Image, way: str) -> bytes:
    """The same picture as another site would show it."""
    width, height = image.size
    if way == "recompressed":
        return jpeg(image, 55)
    if way == "smaller":
        return jpeg(image.resize((round(width * 0.75), round(height * 0.75)), Image.Resampling.BICUBIC))
    if way == "larger":
        return jpeg(image.resize((round(width * 1.25), round(height * 1.25)), Image.Resampling.BICUBIC))
    if way == "brighter":
        return jpeg(ImageEnhance.Brightness(image).enhance(1.02))
    if way == "darker":
        return jpeg(ImageEnhance.Brightness(image).enhance(0.98))
    assert way == "cropped", way
    return jpeg(image.crop((round(width * 0.01), round(height * 0.01), round(width * 0.99), round(height * 0.99))))


WAYS = ("recompressed", "smaller", "larger", "brighter", "darker", "cropped")
