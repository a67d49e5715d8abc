"""Pictures to squares of uint8 pixels, as training sees them."""

import math
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import center_crop

from vlp_core.data.pictures import Picture

Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels

_RATIO = (3 / 4, 4 / 3)
_LINE = 8  # what is longer by more is cut before it is enlarged, lest a line of one pixel take gigabytes


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Square pictures of `size` pixels; the model takes its mean and deviation off them on the device."""

    size: int
    crop_scale: tuple[float, float] = (0.9, 1.0)
    flip: float = 0.0
    resize_mode: str = "shortest"
    """How evaluation brings pictures to squares, as open_clip names it: shortest, longest or squash."""

    def train(self, picture: Picture, rng: np.random.Generator) -> Tensor:
        """A random crop, resized and perhaps mirrored: uint8 [3, size, size].

        Where the crop's share is all of the picture, it comes as evaluation sees it. Raises whatever Pillow raises for
        bytes that it cannot decode.
        """
        pixels = self._whole(picture) if self.crop_scale == (1, 1) else self._crop(picture, rng)
        return pixels.flip(-1) if self.flip and rng.random() < self.flip else pixels

    def _crop(self, picture: Picture, rng: np.random.Generator) -> Tensor:
        return _resized(picture, random_crop(*picture.sides, self.crop_scale, rng), self.size, self.size)

    def _whole(self, picture: Picture) -> Tensor:
        width, height = picture.sides
        # what is left out of a line is far from the square that is cut from its middle
        longest = _LINE * min(width, height) if self.resize_mode == "shortest" else max(width, height)
        w, h = min(width, longest), min(height, longest)
        left, upper = (width - w) // 2, (height - h) // 2
        pixels = _resized(picture, (left, upper, left + w, upper + h), *fitted(w, h, self.size, self.resize_mode))
        return center_crop(pixels, [self.size, self.size])


def _resized(picture: Picture, box: Box, width: int, height: int) -> Tensor:
    """A part of the picture, uint8 [3, height, width]."""
    decoded, by = picture.decoded(min((box[2] - box[0]) / width, (box[3] - box[1]) / height))
    left, upper, right, lower = (round(side / by) for side in box)
    # on uint8 some three times as fast as Pillow, for the same filter
    part = decoded[None, :, upper:lower, left:right]
    return F.interpolate(part, (height, width), mode="bicubic", antialias=True)[0]


def fitted(width: int, height: int, size: int, resize_mode: str) -> tuple[int, int]:
    """The width and height that a picture is resized to before a square of `size` is cut from its middle, as
    open_clip's transform does in evaluation: the square of `longest` is larger than the picture, and black there."""
    if resize_mode == "squash":
        return size, size
    if resize_mode == "longest":
        longest = max(width, height)
        return max(1, round(width * size / longest)), max(1, round(height * size / longest))
    shortest = min(width, height)
    return size * width // shortest, size * height // shortest


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
