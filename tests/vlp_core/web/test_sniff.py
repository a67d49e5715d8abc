import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.vlp_core.web.hand_made import TIFF_KINDS, jpeg_in_scans
from tests.vlp_core.web.site import picture
from vlp_core.web.reasons import UNFORESEEN, class_of
from vlp_core.web.sniff import Header, NotAnImageError, refusal, sniff

FRAMES = {"save_all": True}


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"x" * 3000, "dpi": (300, 300)}),
        ("PNG", {}),
        ("PNG", FRAMES),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": Image.Exif().tobytes()}),
        ("WEBP", FRAMES),
        ("GIF", {}),
        ("GIF", FRAMES),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", FRAMES),
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (1, 1), (333, 1)])
def test_kind_size_and_frames_are_those_pillow_finds(kind: str, options: dict, size: tuple[int, int]) -> None:
    if options is FRAMES:
        options = {**FRAMES, "append_images": [Image.new("RGB", size, (n * 80, 9, 9)) for n in range(3)]}
    body = picture(*size, kind=kind, **options)
    image = Image.open(io.BytesIO(body))
    frames, several = getattr(image, "n_frames", 1), "progressive" in options
    assert sniff(body) == Header(kind.lower(), *image.size, frames, several_scans=several)


@pytest.mark.parametrize(
    "harm", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff", b"nothing of the kind"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_that_is_damaged_leaves_a_picture_upright(kind: str, harm: bytes) -> None:
    header = sniff(picture(kind=kind, exif=b"Exif\0\0" + harm))
    assert (header.width, header.height, header.orientation) == (64, 48, 1)


def test_a_picture_of_sixteen_bits_says_so() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(buffer, "PNG")
    assert sniff(buffer.getvalue()).depth == 16


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><p>gone", "not an image: html"),
        (b"\n\n <HTML><img src=x>", "not an image: html"),
        (b"\xef\xbb\xbf<html>", "not an image: html"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "not an image: svg"),
        (b"<svg onload=alert(1)>", "not an image: svg"),
        (b"<script>1</script>", "not an image: script"),
        (b'<?xml version="1.0"?><Error/>', "not an image: markup"),
        (b'{"error": 1}', "not an image: json"),
        (b"%PDF-1.7", "not an image: pdf"),
        (b"sorry", "not an image: text"),
        (b"\0\0\0\x20ftypavif", "not an image: avif"),
        (b"\x93\x01\x80\0\0", "not an image: unknown"),
        (b"\xff\xd8\xff\xe0", "broken header: jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "broken header: png"),
        (png_claiming(0, 5), "broken header: png"),
        (b"GIF89a", "broken header: gif"),
        (b"RIFF\0\0\0\0WEBPVP8?", "broken header: webp"),
    ],
)
def test_what_is_no_picture_is_named_by_its_bytes(body: bytes, reason: str) -> None:
    with pytest.raises(NotAnImageError, match=f"^{reason}$"):
        sniff(body)
    assert class_of(reason) in ("not_an_image", "undecodable")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@settings(deadline=None)
@given(data=st.data())
def test_damaged_pictures_end_in_a_header_or_a_reason(kind: str, data: st.DataObject) -> None:
    body = bytearray(picture(kind=kind))
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(3, min(200, len(body) - 1)))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    try:
        assert sniff(bytes(body)).width > 0
    except NotAnImageError as error:
        assert len(str(error)) < 40 and class_of(str(error)) != UNFORESEEN


@pytest.mark.parametrize("code", ["B", "H", "I", "b", "h", "i", "Q", "q"])
@pytest.mark.parametrize("order", "<>")
def test_a_tiff_is_as_large_as_its_tiles_whichever_numbers_say_so(order: str, code: str) -> None:
    """As libtiff reads them, which inflates them whole."""
    entries, values = struct.pack(order + "H", 4), b""
    for tag, value in ((256, 9), (257, 8), (322, 112), (323, 96)):
        field = struct.pack(order + code, value)
        if len(field) > 4:
            field, values = struct.pack(order + "I", 62 + len(values)), values + field
        entries += struct.pack(order + "HHI", tag, TIFF_KINDS[code], 1) + field.ljust(4, b"\0")
    body = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8) + entries + bytes(4) + values
    assert sniff(body) == Header("tiff", 112, 96)


def test_a_tiff_whose_pages_form_a_ring_ends() -> None:
    body = bytearray(picture(kind="TIFF"))
    at = struct.unpack_from("<I", body, 4)[0]
    entries = struct.unpack_from("<H", body, at)[0]
    struct.pack_into("<I", body, at + 2 + 12 * entries, at)
    assert sniff(bytes(body)).frames == 1


def test_a_tiff_of_endless_pages_is_counted_so_far_and_no_further() -> None:
    first = struct.pack("<HHHIIHHIII", 2, 256, 4, 1, 9, 257, 4, 1, 9, 38)
    empty = b"".join(struct.pack("<HI", 0, 38 + 6 * (page + 1)) for page in range(100_000))
    header = sniff(b"II*\0" + struct.pack("<I", 8) + first + empty)
    assert 1000 < header.frames < 2000
    assert refusal(header, max_pixels=10**6, max_frames=1000) == "too many frames"


def test_of_a_tiff_tag_that_comes_twice_the_first_counts() -> None:
    """As for libtiff, which decodes it: a small second size must not hide a large first one."""
    twice = struct.pack("<H", 4)
    for tag, value in ((256, 60000), (256, 9), (257, 40000), (257, 9)):
        twice += struct.pack("<HHII", tag, 4, 1, value)
    header = sniff(b"II*\0" + struct.pack("<I", 8) + twice + bytes(4))
    assert (header.width, header.height) == (60000, 40000)


@pytest.mark.parametrize(
    ("kind", "head", "part", "tail"),
    [
        ("gif", b"GIF89a" + struct.pack("<HHBBB", 64, 48, 0, 0, 0) + b"\x21\xfe", b"\x01a", b"\0;"),
        ("jpeg", b"\xff\xd8", b"\xff\xd0", picture()[2:]),
        ("png", png_claiming(64, 48), b"\0\0\0\0tEXt\0\0\0\0", b""),
        ("webp", b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x3f\0\0\x2f\0\0", b"JUNK\0\0\0\0", b""),
    ],
    ids=["gif", "jpeg", "png", "webp"],
)
def test_a_header_of_tiny_parts_is_not_walked_to_its_end(kind: str, head: bytes, part: bytes, tail: bytes) -> None:
    assert sniff(head + part * 1000 + tail) == Header(kind, 64, 48)
    with pytest.raises(NotAnImageError, match=f"^broken header: {kind}$"):
        sniff(head + part * 300_000 + tail)


def test_fill_bytes_of_a_jpeg_are_passed_over_however_many() -> None:
    body = picture()
    assert sniff(body[:2] + b"\xff" * 2_000_000 + body[2:]) == Header("jpeg", 64, 48)


def test_a_jpeg_of_too_many_scans_is_refused_whatever_else_it_holds() -> None:
    """Each is a pass of the decoder; bytes that look like the start of one, as in a film that follows, are none, and
    where the first scan has all there is no other is read."""
    scan, size = b"\xff\xda\0\x08\1\1\0\0\x3f\0", Header("jpeg", 64, 48)
    whole, progressive = picture(), picture(progressive=True)
    of_one_colour = whole.replace(b"\xff\xda\0\x0c\3", b"\xff\xda\0\x08\1", 1)
    assert whole != of_one_colour
    assert sniff(whole + scan * 5000) == size
    for body in (progressive, of_one_colour):
        assert sniff(body + scan * 80 + b"\xff\xda" * 5000) == replace(size, several_scans=True)
        with pytest.raises(NotAnImageError, match=r"^too many scans$"):
            sniff(body + scan * 100)


def test_a_jpeg_whose_scans_its_decoder_keeps_says_so() -> None:
    """Progressive ones, by whichever codes, and those whose first scan has not all colours."""
    whole, progressive = picture(), picture(progressive=True)
    assert not sniff(whole).several_scans
    by_colours = jpeg_in_scans(Image.new("RGB", (64, 48)))
    for body in (progressive, progressive.replace(b"\xff\xc2", b"\xff\xca", 1), by_colours):
        assert sniff(body) == Header("jpeg", 64, 48, several_scans=True)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (sniff(png_claiming(30000, 30000)), "too many pixels"),
        (Header("png", 8000, 8000), None),
        (Header("png", 8001, 8000), "too many pixels"),
        (Header("gif", 9, 9, 1001), "too many frames"),
    ],
)
def test_a_bomb_is_refused_by_its_header(header: Header, reason: str | None) -> None:
    assert refusal(header, max_pixels=64_000_000, max_frames=1000) == reason
    assert reason is None or class_of(reason) == "too_large"
