"""A picture with an ICC profile is stored in the sRGB colours that the profile means; no profile spoils a picture."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.vlp_core.web.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    LINEAR,
    SRGB,
    Space,
    curve,
    grey_profile,
    ink_profile,
    made,
    srgb_stored,
    steps,
)
from tests.vlp_core.web.test_picture import WIDE, pixels, saved, stored, with_chunk
from vlp_core.web import colours
from vlp_core.web.picture import make_store
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import sniff

PATCH = 64  # pixels; seen is the middle of each, which JPEG's neighbours do not reach
COLOURS = [(255, 0, 0), (0, 255, 0), (200, 100, 50), (90, 160, 120), (60, 60, 60), (255, 255, 255)]
EXACT = {"image_size": PATCH // 2, "encode_quality": 100}
Encoded = Callable[[Image.Image, bytes], bytes]


def patches(values: Any) -> Image.Image:
    """A row of them, each of one number, three or four."""
    row = np.repeat(np.asarray(values, np.uint8)[None], PATCH, axis=1)
    image = np.repeat(row, PATCH, axis=0)
    return Image.fromarray(image, "CMYK" if image.ndim == 3 and image.shape[2] == 4 else None)


def found(body: bytes, **settings: Any) -> np.ndarray:
    """The colour of each patch as it is stored, [N, 3]."""
    image = pixels(stored(body, **EXACT, **settings).jpeg)
    side = image.shape[0]
    return image[side // 2, side // 2 :: side]


def as_png(image: Image.Image, profile: bytes, *, method: int = 0) -> bytes:
    return with_chunk(saved(image, "PNG"), b"iCCP", b"mine\0" + bytes([method]) + zlib.compress(profile))


def as_jpeg(image: Image.Image, profile: bytes, **options: Any) -> bytes:
    return saved(image, "JPEG", quality=100, subsampling=0, icc_profile=profile, **options)


def by_pillow(image: Image.Image, profile: bytes) -> bytes:
    """As a JPEG that libjpeg complains of."""
    return as_jpeg(image, profile)[:-2] + bytes(7) + b"\xff\xd9"


def in_parts(image: Image.Image, profile: bytes) -> bytes:
    """As a JPEG whose profile lies in three segments or more, the last one first."""
    size = min(60_000, len(profile) // 3 + 1)
    parts = [profile[at : at + size] for at in range(0, len(profile), size)]
    segments = [
        b"\xff\xe2" + struct.pack(">H", 16 + len(part)) + b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part
        for number, part in reversed(list(enumerate(parts, 1)))
    ]
    plain = saved(image, "JPEG", quality=100, subsampling=0)
    return plain[:2] + b"".join(segments) + plain[2:]


def as_tiff(image: Image.Image, profile: bytes) -> bytes:
    return saved(image, "TIFF", icc_profile=profile)


KINDS: dict[str, Encoded] = {
    "jpeg": as_jpeg,
    "jpeg, read by Pillow": by_pillow,
    "jpeg, in parts": in_parts,
    "png": as_png,
    "png, palette": lambda image, profile: as_png(image.quantize(16, dither=Image.Dither.NONE), profile),
    "png, alpha": lambda image, profile: as_png(image.convert("RGBA"), profile),
    "webp": lambda image, profile: saved(image, "WEBP", lossless=True, icc_profile=profile),
    "tiff": as_tiff,
}


@pytest.mark.parametrize("space", [DISPLAY_P3, ADOBE_RGB], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("kind", KINDS)
def test_colours_are_stored_as_the_profile_means_them(kind: str, space: Space) -> None:
    want = space.in_srgb(np.array(COLOURS))
    assert np.abs(want - COLOURS).max() > 20, "another colour is seen"
    assert np.abs(found(KINDS[kind](patches(COLOURS), space.profile())) - want).max() <= 2


GREYS = np.array([0, 40, 100, 180, 255])
GREY_KINDS: dict[str, Encoded] = {
    "jpeg": as_jpeg,
    "png": as_png,
    "png, alpha": lambda image, profile: as_png(image.convert("LA"), profile),
    "tiff, 16 bits": lambda image, profile: as_tiff(
        Image.fromarray(np.asarray(image).astype(np.uint16) * 257), profile
    ),
}


@pytest.mark.parametrize("profile", [grey_profile(lambda values: values**1.4), LINEAR.profile()], ids=["grey", "RGB"])
@pytest.mark.parametrize("kind", GREY_KINDS)
def test_greys_are_stored_as_a_profile_of_greys_or_of_colours_means_them(kind: str, profile: bytes) -> None:
    light = GREYS / 255 if b"rTRC" in profile else (GREYS / 255) ** 1.4
    body = GREY_KINDS[kind](patches(GREYS), profile)
    assert np.abs(found(body) - 255 * srgb_stored(light)[:, None]).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_half_clear_is_laid_on_white_in_the_colours_that_are_seen(mode: str) -> None:
    image = patches(np.full((1, 3), 100)).convert(mode)
    image.putalpha(128)
    shown = 255 * srgb_stored(np.array(100 / 255))
    profile = LINEAR.profile() if mode == "RGBA" else grey_profile(LINEAR.light)
    assert np.abs(found(as_png(image, profile)) - (shown * 128 + 255 * 127) / 255).max() <= 2


@pytest.mark.parametrize("kind", [as_jpeg, by_pillow, as_tiff])
def test_inks_are_stored_as_the_colours_that_the_profile_prints(kind: Encoded) -> None:
    printed = np.random.default_rng(0).integers(40, 240, (2, 2, 2, 2, 3))
    printed[0, 0, 0, 0], printed[1, 1, 1, 1] = 255, 0
    inks = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1]])
    want = printed[tuple(inks.T)]
    assert np.abs(found(kind(patches(255 * inks), ink_profile(printed))) - want).max() <= 3


P3 = DISPLAY_P3.profile()
INKS = ink_profile(np.linspace(255, 0, 48).reshape(2, 2, 2, 2, 3))
BROKEN = {
    "nothing": b"",
    "noise": np.random.default_rng(0).bytes(5000),
    "cut short": P3[:300],
    "without primaries": made(b"RGB ", {b"rTRC": curve(SRGB.light)}),
    "without a signature": P3.replace(b"acsp", b"pcsa"),
    "a link of two devices": P3.replace(b"mntr", b"link"),
    "of other numbers than colours": P3.replace(b"RGB ", b"HSV ", 1),
    "of greys": grey_profile(LINEAR.light),
    "of inks": INKS,
    "more tags than there are": P3[:128] + b"\xff" * 4 + P3[132:],
    "a table without end": P3.replace(struct.pack(">I", 1024), b"\x7f\xff\xff\xff"),
    "with steps to no end": made(b"RGB ", {b"D2B0": steps(4000)}),
    "huge": P3 + bytes(colours.MOST_BYTES),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", BROKEN)
def test_a_profile_that_is_broken_or_of_other_pictures_is_passed_over(broken: str, kind: str) -> None:
    assert np.abs(found(KINDS[kind](patches(COLOURS), BROKEN[broken])) - COLOURS).max() <= 2


@pytest.mark.parametrize("profile", [P3, grey_profile(LINEAR.light), b"", INKS[:300]])
def test_inks_whose_profile_is_none_of_theirs_are_seen_as_without(profile: bytes) -> None:
    image = WIDE.resize((384, 256)).convert("CMYK")
    for kind in (as_jpeg, as_tiff):
        plain = stored(kind(image, b""), image_size=64)
        assert stored(kind(image, profile), image_size=64).jpeg == plain.jpeg


@pytest.mark.parametrize("method", [0, 1])
def test_a_png_is_not_refused_for_a_profile_that_cannot_be_inflated(method: int) -> None:
    """Neither for one that is packed in an unknown way, nor for one that grows beyond all bounds."""
    body = as_png(patches(COLOURS), P3 if method else bytes(2**24), method=method)
    assert np.abs(found(body) - COLOURS).max() <= 2


@pytest.mark.parametrize("after", [b"", bytes(7)], ids=["sound", "read by Pillow"])
@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"ICC_PROFILE\0\2\3", b"ICC_profile\0\2\3"),
        (b"ICC_PROFILE\0\2\3", b"ICC_PROFILE\0\1\3"),
        (b"ICC_PROFILE\0\2\3", b"ICC_PROFILE\0\2\2"),
        (b"\xff\xd8", b"\xff\xd8\xff\xe2\0\x0eICC_PROFILE\0"),
    ],
    ids=["a part is missing", "a part comes twice", "parts are of two minds", "a part has no number"],
)
def test_a_jpeg_whose_profile_is_not_whole_is_seen_as_without(part: bytes, instead: bytes, after: bytes) -> None:
    """Neither refused for it, nor shown in colours of half of one."""
    body = in_parts(patches(COLOURS), P3).replace(part, instead, 1)[:-2] + after + b"\xff\xd9"
    assert np.abs(found(body) - COLOURS).max() <= 2


def test_a_jpeg_that_is_cut_short_is_refused_whatever_its_profile() -> None:
    body = in_parts(WIDE, P3).replace(b"ICC_PROFILE\0\2\3", b"ICC_PROFILE\0\1\3")
    assert make_store(Fetch())(body[: -len(body) // 8] + b"\xff\xd9", sniff(body)) == "undecodable: jpeg"


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_what_is_srgb_already_is_stored_as_without_a_profile(kind: str) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = WIDE.resize((384, 256))
    plain = stored(KINDS[kind](image, b""), image_size=64)
    for profile in (SRGB.profile(), own):
        assert stored(KINDS[kind](image, profile), image_size=64).jpeg == plain.jpeg


def test_a_profile_is_read_once_for_all_pictures_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says, in any thread; and not all that ever came are kept."""
    read: list[bytes] = []

    class Counted(ImageCms.ImageCmsProfile):
        def __init__(self, profile: Any) -> None:
            if isinstance(profile, io.BytesIO):
                read.append(profile.getvalue())
            super().__init__(profile)

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", Counted)
    monkeypatch.setattr(colours, "_conversions", colours.Conversions(most=3))
    distinct = [P3, SRGB.profile(), P3[:1000]]
    bodies = [as_jpeg(WIDE, profile) for profile in distinct] * 8
    make = make_store(Fetch(image_size=32))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda body: make(body, sniff(body)), bodies))
    assert results == results[:3] * 8 and sorted(read) == sorted(distinct)
    for at in range(9):
        stored(as_jpeg(WIDE, P3 + bytes([at])), image_size=32)
    assert len(read) == 12
    stored(as_jpeg(WIDE, P3), image_size=32)
    assert len(read) == 13, "what came long ago was let go of"


def test_a_jpeg_that_is_shrunk_keeps_its_shapes_while_its_colours_change() -> None:
    """As if it had been converted first and shrunk then."""
    image = WIDE.resize((384, 256))
    before = Image.fromarray(np.rint(DISPLAY_P3.in_srgb(np.asarray(image))).astype(np.uint8))
    one, other = (pixels(stored(body, image_size=100).jpeg) for body in (as_jpeg(image, P3), as_jpeg(before, b"")))
    assert 10 * np.log10(255**2 / ((one - other) ** 2).mean()) > 35 and cv2.PSNR(one, other) > 35
