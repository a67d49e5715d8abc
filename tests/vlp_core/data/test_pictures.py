"""What was decoded is kept while there is room, and seen as if it had been decoded anew."""

import io

import pytest
import torch
from PIL import Image

from tests.vlp_core.data.folders import jpeg
from vlp_core.data.pictures import Memory, Picture
from vlp_core.data.transforms import Transform
from vlp_core.identity import generator


@pytest.mark.parametrize(("size", "least"), [(16, 0.9), (90, 0.9), (90, 1.0)])
def test_a_kept_picture_is_neither_read_nor_decoded_again_and_looks_the_same(size: int, least: float) -> None:
    crops, memory, left = Transform(size=size, crop_scale=(least, 1.0)), Memory(10**6), [jpeg(5, 401, 303)]
    kept = [crops.train(Picture(lambda: left.pop(), memory, 7), generator(turn)) for turn in range(3)]
    anew = [crops.train(Picture(lambda: jpeg(5, 401, 303)), generator(turn)) for turn in range(3)]
    assert all(torch.equal(one, other) for one, other in zip(kept, anew, strict=True)) and not left


def test_what_does_not_fit_is_decoded_anew() -> None:
    memory = Memory(3 * 40 * 40)
    for name in (0, 1):
        Picture(lambda: jpeg(1, 40, 40), memory, name).decoded(1.0)
    assert memory.find(0, 1) is not None and memory.find(1, 1) is None


@pytest.mark.parametrize(
    ("shrink", "format", "by", "sides"),
    [(0.5, "JPEG", 1, (101, 67)), (2.1, "JPEG", 2, (51, 34)), (7.9, "JPEG", 4, (26, 17)), (4, "PNG", 1, (101, 67))],
)
def test_a_jpeg_comes_no_smaller_than_asked_and_other_formats_whole(
    shrink: float, format: str, by: int, sides: tuple[int, int]
) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(2, 101, 67))).save(buffer, format)
    decoded = Picture(buffer.getvalue).decoded(shrink)
    assert decoded.by == by and tuple(decoded.pixels.shape) == (3, *reversed(sides))
