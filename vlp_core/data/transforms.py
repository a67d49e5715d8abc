"""Pictures to squares of uint8 pixels, as training sees them."""

import math
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vlp_core.data.pictures import Picture

Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels

_RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Square pictures of `size` pixels; the model takes its mean and deviation off them on the device."""

    size: int
    crop_scale: tuple[float, float] = (0.9, 1.0)
    flip: float = 0.0

    def train(self, picture: Picture, rng: np.random.Generator) -> Tensor:
        """A random crop, resized and perhaps mirrored: uint8 [3, size, size].

        Raises whatever Pillow raises for bytes that it cannot decode.
        """
        box = random_crop(*picture.sides, self.crop_scale, rng)
        whole, by = picture.decoded(min(box[2] - box[0], box[3] - box[1]) / self.size)
        left, upper, right, lower = (round(side / by) for side in box)
        crop = whole[None, :, upper:lower, left:right]
        # on uint8 some three times as fast as Pillow, for the same filter
        pixels = F.interpolate(crop, (self.size, self.size), mode="bicubic", antialias=True)[0]
        return pixels.flip(-1) if self.flip and rng.random() < self.flip else pixels


def random_crop(width: int, height: int, scale: tuple[float, float], rng: np.random.Generator) -> Box:
    """A box of a random share of the area and a random shape (Szegedy et al., 2015), as torchvision draws it."""
    area = width * height
    for _ in range(10):
        share = area * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(share * ratio)), round(math.sqrt(share / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, upper, left + w, upper + h
    # no such box fits: the largest one in the middle whose shape is allowed
    w, h = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h
