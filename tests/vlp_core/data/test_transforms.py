import io
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from tests.vlp_core.data.folders import jpeg
from vlp_core.data.pictures import Picture
from vlp_core.data.transforms import Transform, random_crop
from vlp_core.identity import generator


def transform(size: int, **settings: object) -> Transform:
    return Transform(size=size, **settings)


def encoded(mode: str, format: str, width: int = 90, height: int = 61) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg(3, width, height))).convert(mode).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "format"), [("L", "jpeg"), ("CMYK", "jpeg"), ("RGBA", "png"), ("P", "png"), ("RGB", "webp")]
)
def test_every_mode_becomes_colours(mode: str, format: str) -> None:
    pixels = transform(16).train(Picture(lambda: encoded(mode, format)), generator(0))
    assert pixels.shape == (3, 16, 16) and pixels.dtype == torch.uint8


@pytest.mark.parametrize("size", [24, 96])
def test_a_crop_out_of_a_shrunken_decode_is_the_crop_of_the_whole(size: int) -> None:
    """The same box to half a pixel, whether the JPEG is decoded in full or smaller; not that of another draw."""
    body = jpeg(5, 801, 603)
    crops = transform(size, crop_scale=(0.2, 1.0))
    for turn in range(5):
        with Image.open(io.BytesIO(body)) as image:
            box = random_crop(801, 603, (0.2, 1.0), generator("crop", turn))
            whole = image.crop(box).resize((size, size), Image.Resampling.BICUBIC)
        same, other = (
            crops.train(Picture(lambda: body), generator("crop", draw)).permute(1, 2, 0).numpy().astype(int)
            for draw in (turn, turn + 1)
        )
        assert np.abs(same - np.asarray(whole)).mean() < 2 < 5 < np.abs(other - np.asarray(whole)).mean()


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(801, 603, 24), (301, 800, 65), (90, 90, 32), (61, 90, 96), (900, 99, 33), (300, 20, 25)],
)
def test_uncropped_pictures_are_those_of_evaluation(width: int, height: int, size: int, mode: str) -> None:
    """Shrunken by the decoder or not; beyond 8 to 1 the ends are cut before, which nothing in the square shows."""
    body = jpeg(4, width, height)
    plain = PreprocessCfg(size=size, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode)
    with Image.open(io.BytesIO(body)) as image:
        wanted = image_transform_v2(plain, is_train=False)(image.convert("RGB")) * 255
    uncropped = transform(size, crop_scale=(1.0, 1.0), resize_mode=mode)
    assert (uncropped.train(Picture(lambda: body), generator(0)) - wanted).abs().mean() < 1.5


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 99))
def test_a_crop_lies_within_the_picture(width: int, height: int, seed: int) -> None:
    left, upper, right, lower = random_crop(width, height, (0.05, 1.0), generator(seed))
    assert 0 <= left < right <= width and 0 <= upper < lower <= height


@pytest.mark.parametrize(("width", "height"), [(256, 200), (200, 256), (400, 100)])
def test_crops_are_spread_as_torchvision_spreads_them(width: int, height: int) -> None:
    torch.manual_seed(0)
    picture = torch.empty(3, height, width)
    theirs = [RandomResizedCrop.get_params(picture, [0.3, 0.9], [3 / 4, 4 / 3]) for _ in range(2000)]
    ours = [random_crop(width, height, (0.3, 0.9), generator("spread", turn)) for turn in range(2000)]
    columns = zip(*[(upper, left, lower - upper, right - left) for left, upper, right, lower in ours], strict=True)
    for mine, other in zip(columns, zip(*theirs, strict=True), strict=True):
        assert abs(fmean(mine) - fmean(other)) <= 4 * np.std([*mine, *other]) * np.sqrt(2 / 2000) + 1e-9


def test_flips_come_as_often_as_asked() -> None:
    body = jpeg(8, 32, 32)
    plain = torch.from_numpy(np.array(Image.open(io.BytesIO(body)))).permute(2, 0, 1)
    mirrored = plain.flip(-1)
    seen = [
        transform(32, crop_scale=(1.0, 1.0), flip=0.3).train(Picture(lambda: body), generator("flip", n))
        for n in range(200)
    ]
    flipped = sum(
        int((pixels.int() - mirrored.int()).abs().sum() < (pixels.int() - plain.int()).abs().sum()) for pixels in seen
    )
    assert 35 < flipped < 85, "60 of 200 in the mean"


def test_the_same_draw_gives_the_same_pixels() -> None:
    body = jpeg(9, 200, 150)
    settings = transform(32, crop_scale=(0.3, 1.0), flip=0.5)
    assert torch.equal(
        settings.train(Picture(lambda: body), generator(1)), settings.train(Picture(lambda: body), generator(1))
    )
    assert not torch.equal(
        settings.train(Picture(lambda: body), generator(1)), settings.train(Picture(lambda: body), generator(2))
    )
