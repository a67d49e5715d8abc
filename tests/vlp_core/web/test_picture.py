"""What is stored of a picture: as Pillow, the reference, shows it to a person; as img2dataset would shrink it."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from tests.vlp_core.web.hand_made import grey_png, jpeg_in_scans, tiled_tiff
from tests.vlp_core.web.site import picture
from tests.vlp_core.web.test_sniff import png_claiming
from vlp_core.web.decode import Decoded, decoded
from vlp_core.web.picture import Stored, make_store
from vlp_core.web.reasons import class_of
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import Header, sniff

WIDE = Image.open(io.BytesIO(picture(96, 64, kind="PNG"))).convert("RGB")
CLEAR = WIDE.copy()
CLEAR.putalpha(Image.fromarray(np.linspace(0, 255, 96 * 64).reshape(64, 96).astype(np.uint8)))
FEW = WIDE.quantize(8, dither=Image.Dither.NONE)
LARGE = WIDE.resize((384, 256))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes()


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = name + content
    return png[:33] + len(content).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + png[33:]


def store(body: bytes, **settings: Any) -> Stored | str:
    return make_store(Fetch(**settings))(body, sniff(body))


def stored(body: bytes, **settings: Any) -> Stored:
    found = store(body, **settings)
    assert isinstance(found, Stored), found
    assert Image.open(io.BytesIO(found.jpeg)).size == (found.width, found.height)
    return found


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


def seen(body: bytes) -> np.ndarray:
    """What a person sees, by Pillow: upright, on white, RGB."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return np.asarray(image.convert("RGB")).astype(int)


def off(found: Stored, body: bytes) -> float:
    """How far a stored picture is from what a person sees, shrunk by areas and encoded: levels, in the mean."""
    want = seen(body)
    assert (found.original_height, found.original_width) == want.shape[:2]
    small = cv2.resize(want.astype(np.uint8), (found.width, found.height), interpolation=cv2.INTER_AREA)
    return float(np.abs(pixels(found.jpeg) - pixels(saved(Image.fromarray(small), "JPEG", quality=95))).mean())


BODIES: dict[str, bytes] = {
    "jpeg": saved(WIDE, "JPEG"),
    "jpeg, progressive": saved(WIDE, "JPEG", progressive=True),
    "jpeg, grey": saved(WIDE.convert("L"), "JPEG"),
    "jpeg, CMYK": saved(WIDE.convert("CMYK"), "JPEG"),
    "jpeg, YCCK": simplejpeg.encode_jpeg(255 - np.asarray(WIDE.convert("CMYK")), 95, "CMYK", "444"),
    "jpeg, RGB": saved(WIDE, "JPEG", keep_rgb=True),
    "jpeg, a scan a colour": jpeg_in_scans(WIDE),
    "jpeg, stray bytes": saved(WIDE, "JPEG")[:-2] + bytes(7) + b"\xff\xd9",
    "png": saved(WIDE, "PNG"),
    "png, alpha": saved(CLEAR, "PNG"),
    "png, grey, alpha": saved(CLEAR.convert("LA"), "PNG"),
    "png, palette": saved(FEW, "PNG"),
    "png, palette, clear colour": saved(FEW, "PNG", transparency=3),
    "png, palette, alpha": saved(FEW, "PNG", transparency=bytes(range(0, 256, 32))),
    "png, RGB, clear colour": saved(FEW.convert("RGB"), "PNG", transparency=FEW.convert("RGB").getpixel((9, 9))),
    "png, grey, clear colour": saved(FEW.convert("L"), "PNG", transparency=FEW.convert("L").getpixel((9, 9))),
    "png, two colours": saved(FEW.convert("L").point(lambda grey: 255 * (grey > 99)).convert("1"), "PNG"),
    "png, animated": saved(WIDE, "PNG", save_all=True, append_images=[WIDE.rotate(180)]),
    "webp": saved(WIDE, "WEBP"),
    "webp, alpha": saved(CLEAR, "WEBP", lossless=True),
    "webp, animated, alpha": saved(CLEAR, "WEBP", save_all=True, append_images=[WIDE], lossless=True),
    "gif": saved(FEW, "GIF"),
    "gif, clear colour": saved(FEW, "GIF", transparency=3),
    "gif, animated": saved(FEW, "GIF", save_all=True, append_images=[FEW.rotate(180)]),
    "bmp": saved(WIDE, "BMP"),
    "tiff, alpha": saved(CLEAR, "TIFF", compression="tiff_lzw"),
    "tiff, CMYK": saved(WIDE.convert("CMYK"), "TIFF"),
    "tiff, tiled": tiled_tiff(WIDE.convert("L"), 128),
    "tiff, pages": saved(WIDE, "TIFF", save_all=True, append_images=[WIDE.resize((32, 32))]),
}
OF_ONE_FRAME = {
    name: body for name, body in BODIES.items() if not name.endswith(("animated", "alpha", "pages", "bytes"))
}


@pytest.mark.parametrize("name", BODIES)
def test_a_picture_is_stored_as_a_person_sees_it(name: str) -> None:
    for settings in ({"resize_mode": "no"}, {"image_size": 40}):
        assert off(stored(BODIES[name], **settings), BODIES[name]) < 2


@pytest.mark.parametrize("orientation", [0, *range(1, 9), 9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_stored_upright(kind: str, orientation: int) -> None:
    """As Pillow turns it by its EXIF, with the size it is then seen in."""
    body = picture(160, 100, kind=kind, exif=exif(orientation))
    for settings in ({}, {"image_size": 50}):
        found = stored(body, **settings)
        assert off(found, body) < 2 and not Image.open(io.BytesIO(found.jpeg)).getexif()


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_a_channel_are_stored_as_eight_are(channels: int, kind: str, turn: int) -> None:
    """They neither turn white nor lose their transparency."""
    ramp = np.linspace(0, 255, 60 * 60 * channels).reshape(60, 60, channels).astype(np.uint8)
    if channels == 4:
        ramp[:20, :, :3], ramp[:20, :, 3] = 0, 0  # clear, over black
    found = []
    for values in (ramp, ramp.astype(np.uint16) * 257):
        body = cv2.imencode(kind, values)[1].tobytes()
        if kind == ".png":
            body = with_chunk(body, b"eXIf", exif(turn).removeprefix(b"Exif\0\0"))
        found.append(pixels(stored(body).jpeg))
    assert np.abs(found[0] - found[1]).max() <= 1
    assert channels != 4 or found[1][0, -1 if turn == 6 and kind == ".png" else 0].min() > 250


@pytest.mark.parametrize("channels", [1, 3])
def test_a_clear_colour_of_sixteen_bits_is_white(channels: int) -> None:
    deep = np.full((20, 30, channels), 40_000, np.uint16)
    deep[:, 15:] = 50_000
    body = with_chunk(cv2.imencode(".png", deep)[1].tobytes(), b"tRNS", (50_000).to_bytes(2, "big") * channels)
    found = pixels(stored(body).jpeg)
    assert abs(found[:, :8].mean() - 156) < 2 and found[:, 22:].min() > 250


DEEP = np.linspace(0, 65535, 60 * 60).reshape(60, 60).astype(np.uint16)


@pytest.mark.parametrize(
    "body",
    [
        saved(Image.fromarray(65535 - DEEP), "TIFF", tiffinfo={262: 0}),
        saved(Image.fromarray(DEEP), "TIFF", save_all=True, append_images=[Image.fromarray(DEEP.astype(np.int32))]),
    ],
    ids=["zero is white", "more bits on the next page"],
)
def test_sixteen_bits_are_stored_as_they_are_meant(body: bytes) -> None:
    plain = saved(Image.fromarray(DEEP), "TIFF")
    assert np.abs(pixels(stored(body).jpeg) - pixels(stored(plain).jpeg)).max() <= 1


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_clear_grey_of_few_bits_is_white(depth: int) -> None:
    grey = np.zeros((20, 30), np.uint8)
    grey[:, 15:] = 1
    found = pixels(stored(grey_png(grey, depth, clear=1)).jpeg)
    assert found[:, :8].max() < 5 and found[:, 22:].min() > 250


def test_around_the_first_frame_of_a_gif_is_white() -> None:
    body = bytearray(saved(FEW, "GIF"))
    frame = body.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 96, 64))
    struct.pack_into("<HH", body, 6, 120, 90)
    struct.pack_into("<HH", body, frame + 1, 16, 8)
    whole = Image.new("RGB", (120, 90), "white")
    whole.paste(FEW, (16, 8))
    assert off(stored(bytes(body)), saved(whole, "PNG")) < 2


@pytest.mark.parametrize("name", OF_ONE_FRAME)
def test_what_is_cut_short_is_refused(name: str) -> None:
    """Whether it would be shrunk or stored as it is; at its first bytes the header says so."""
    body = OF_ONE_FRAME[name]
    for part in (0.4, 0.7, 0.9):
        for size in (256, 32):
            reason = make_store(Fetch(image_size=size))(body[: int(len(body) * part)], sniff(body))
            assert isinstance(reason, str) and class_of(reason) == "undecodable"


@pytest.mark.parametrize("damage", [lambda body: body[: len(body) // 2] + b"\xff\xd9", lambda body: body[:-2]])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_a_jpeg_that_ends_too_early_is_refused(damage: Callable[[bytes], bytes], options: dict) -> None:
    for size in (64, 256):
        assert store(damage(picture(300, 200, **options)), image_size=size) == "undecodable: jpeg"


@pytest.mark.parametrize(
    ("body", "settings", "reason"),
    [
        (png_claiming(30_000, 30_000), {}, "too many pixels"),
        (saved(FEW, "GIF", save_all=True, append_images=[FEW.rotate(180)]), {"max_frames": 1}, "too many frames"),
        (picture(1000, 1, kind="PNG"), {"resize_only_if_bigger": False, "max_pixels": 10**6}, "too many pixels"),
        (
            tiled_tiff(Image.new("L", (8, 1000)), 1024),
            {"resize_only_if_bigger": False, "max_pixels": 2 * 10**6},
            "too many pixels",
        ),
        (tiled_tiff(Image.new("L", (9, 9)), 2000), {"max_pixels": 10**6}, "too many pixels"),
        (tiled_tiff(Image.new("L", (9, 9)), 2000, "Q"), {"max_pixels": 10**6}, "too many pixels"),
        (picture(66_000, 1, kind="PNG"), {}, "too many pixels"),  # no JPEG is so wide
        (cv2.imencode(".tiff", np.zeros((4, 4), np.float32))[1].tobytes(), {}, "undecodable: tiff"),
    ],
    ids=[
        "bomb",
        "frames",
        "line that grows",
        "line in a tile",
        "tile",
        "tile in eight bytes",
        "wider than JPEG",
        "no white",
    ],
)
def test_what_is_out_of_bounds_is_refused(body: bytes, settings: dict, reason: str) -> None:
    assert store(body, **settings) == reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_file_larger_than_its_header_was_read_is_not_decoded(kind: str) -> None:
    """Should the decoder ever find another header than the one whose size was looked at."""
    body = picture(96, 64, kind=kind)
    assert make_store(Fetch())(body, Header(kind.lower(), 48, 32)) == f"broken header: {kind.lower()}"


PROFILE = bytes(range(256)) * 2


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["no", "keep_ratio", "border"])
def test_a_jpeg_that_fits_is_stored_as_it_is_but_for_its_metadata(mode: Any, options: dict) -> None:
    plain = saved(WIDE, "JPEG", **options)
    told = saved(
        WIDE, "JPEG", exif=exif(1), xmp=b"<x:xmpmeta>where</x:xmpmeta>", comment=b"who", icc_profile=PROFILE, **options
    )
    found = stored(told + b"\xff\xd8 and a film of where", resize_mode=mode)
    kept = Image.open(io.BytesIO(found.jpeg))
    assert kept.info["icc_profile"] == PROFILE and not kept.getexif()
    assert all(word not in found.jpeg for word in (b"Exif", b"where", b"who"))
    assert np.array_equal(pixels(found.jpeg), pixels(told)) and stored(plain, resize_mode=mode).jpeg == plain
    assert stored(found.jpeg, resize_mode=mode).jpeg == found.jpeg


def test_a_thumbnail_in_the_jfif_marker_goes() -> None:
    body = saved(WIDE, "JPEG")
    assert body[2:4] == b"\xff\xe0"
    thumbnail = body[:4] + (16 + 12).to_bytes(2, "big") + body[6:18] + b"\x02\x02" + b"face" * 3 + body[20:]
    assert stored(thumbnail).jpeg == body


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        (saved(WIDE, "JPEG"), {"image_size": 63}),
        (saved(WIDE, "JPEG"), {"resize_only_if_bigger": False}),
        (saved(WIDE, "JPEG"), {"resize_mode": "center_crop", "image_size": 63}),
        (BODIES["jpeg, CMYK"], {}),
        (picture(exif=exif(3)), {}),
        (saved(WIDE.convert("L"), "JPEG", icc_profile=bytes(2**17)), {}),
    ],
    ids=["larger", "smaller", "cropped", "four inks", "upside down", "more profile than picture"],
)
def test_a_jpeg_that_does_not_fit_is_made_anew(body: bytes, settings: dict) -> None:
    found = stored(body, **settings)
    sizes = {component[1:3] for component in Image.open(io.BytesIO(found.jpeg)).layer}
    assert found.jpeg not in body and "icc_profile" not in Image.open(io.BytesIO(found.jpeg)).info
    assert sizes <= {(2, 2), (1, 1)}


@pytest.mark.parametrize("size", [40, 100, 250, 400])
@pytest.mark.parametrize("only_if_bigger", [True, False])
@pytest.mark.parametrize("mode", ["no", "keep_ratio", "center_crop", "border", "keep_ratio_largest"])
def test_sizes_and_pixels_are_those_of_img2datasets_resizer(mode: Any, only_if_bigger: bool, size: int) -> None:
    """Pixels at a PSNR of 35 dB and more, whichever way they are shrunk."""
    from img2dataset.resizer import Resizer

    grain = cv2.resize(np.random.default_rng(0).normal(0, 10, (153, 231)), (462, 306), interpolation=cv2.INTER_CUBIC)
    photo = (np.asarray(WIDE.resize((462, 306))) + grain[..., None]).clip(0, 255).astype(np.uint8)
    for kind in (".jpg", ".png"):
        body = cv2.imencode(kind, photo)[1].tobytes()
        found = stored(body, image_size=size, resize_mode=mode, resize_only_if_bigger=only_if_bigger)
        jpeg, *sizes, error = Resizer(size, mode, only_if_bigger)(io.BytesIO(body))
        assert error is None
        assert [found.width, found.height, found.original_width, found.original_height] == sizes
        assert 10 * np.log10(255**2 / ((pixels(found.jpeg) - pixels(jpeg)) ** 2).mean().clip(1e-9)) >= 35


@pytest.mark.parametrize(("least", "size"), [(17, (48, 32)), (33, (96, 64)), (65, (192, 128)), (129, (384, 256))])
@pytest.mark.parametrize("kind", ["JPEG", "JPEG, CMYK"])
def test_a_jpeg_is_shrunk_while_it_is_decoded(kind: str, least: int, size: tuple[int, int]) -> None:
    body = picture(384, 256) if kind == "JPEG" else saved(LARGE.convert("CMYK"), "JPEG")
    assert decoded(body, sniff(body), (least, least)).pixels.shape == (*size[::-1], 3)


@pytest.mark.parametrize(
    ("body", "at_once"),
    [(picture(384, 256), True), (picture(384, 256, progressive=True), False), (jpeg_in_scans(LARGE), False)],
    ids=["one scan", "progressive", "a scan a colour"],
)
def test_jpegs_that_are_large_in_memory_are_decoded_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, body: bytes, at_once: bool
) -> None:
    """One scan is shrunk as it is read; of several all of the picture is there first."""
    both = Barrier(2, timeout=30 if at_once else 0.5)

    def meeting(*words: Any) -> Decoded:
        with suppress(BrokenBarrierError):
            both.wait()
        return decoded(*words)

    monkeypatch.setattr("vlp_core.web.picture._LARGE", 50_000)
    monkeypatch.setattr("vlp_core.web.decode.decoded", meeting)
    make = make_store(Fetch(image_size=64))
    with ThreadPoolExecutor(2) as pool:
        assert all(isinstance(found, Stored) for found in pool.map(make, [body] * 2, [sniff(body)] * 2))
    assert both.broken != at_once


def test_threads_give_the_bytes_that_one_gives() -> None:
    make = make_store(Fetch(image_size=40))
    bodies = [(body, sniff(body)) for body in BODIES.values()]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda body: make(*body), bodies * 8)) == [make(*body) for body in bodies] * 8
