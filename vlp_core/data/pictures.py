"""Encoded pictures to pixels: a JPEG decoded no larger than it is needed, and none twice while there is room."""

import io
import math
import threading
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Decoded(NamedTuple):
    """Pixels uint8 [3, H / by, W / by] of a picture that is H high and W wide."""

    pixels: Tensor
    by: int


class Memory:
    """Decoded pictures, by name, up to so many bytes in all.

    What came first stays: an epoch asks for each picture once, so that one thrown out would be as welcome in the next
    as one that took its place. Any thread may ask.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._sides: dict[int, tuple[int, int]] = {}
        self._pictures: dict[tuple[int, int], Decoded] = {}

    def sides(self, name: int) -> tuple[int, int] | None:
        return self._sides.get(name)

    def find(self, name: int, by: int) -> Decoded | None:
        return self._pictures.get((name, by))

    def keep(self, name: int, sides: tuple[int, int], by: int, decoded: Decoded) -> None:
        size = decoded.pixels.numel()
        with self._lock:
            if (name, by) not in self._pictures and size <= self._room:
                self._room -= size
                self._sides[name] = sides
                self._pictures[name, by] = decoded


class Picture:
    """A picture that is read and decoded only if the memory does not have it under this name."""

    def __init__(self, read: Callable[[], bytes], memory: Memory | None = None, name: int = 0) -> None:
        self._read, self._memory, self._name = read, memory or Memory(0), name

    @cached_property
    def _image(self) -> Image.Image:
        return Image.open(io.BytesIO(self._read()))

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height in pixels, decoded whole."""
        return self._memory.sides(self._name) or self._image.size

    def decoded(self, shrink: float) -> Decoded:
        """The whole picture, no smaller than 1 / shrink of itself; other formats than JPEG come as they are."""
        by = _whole(self.sides, shrink)
        return self._memory.find(self._name, by) or self._decode(by)

    def _decode(self, by: int) -> Decoded:
        with self._image as image:
            sides = image.size
            drafted = image.draft("RGB", (sides[0] // by, sides[1] // by)) if by > 1 else None
            colours = image if image.mode == "RGB" else image.convert("RGB")
            pixels = torch.from_numpy(np.array(colours)).permute(2, 0, 1)
        decoded = Decoded(pixels, round(sides[0] / drafted[1][2]) if drafted else 1)
        self._memory.keep(self._name, sides, by, decoded)
        return decoded


def _whole(sides: tuple[int, int], shrink: float) -> int:
    """By what a JPEG's decoder shrinks at little cost, 1, 2, 4 or 8, and no further than asked."""
    least = min(side // math.ceil(side / max(shrink, 1)) for side in sides)
    return max(by for by in (1, 2, 4, 8) if by <= least)
