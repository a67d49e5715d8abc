"""What a body is, by its bytes alone: the kind of picture and its size, read from the header before any decoding."""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice


class NotAnImageError(Exception):
    """A body is no picture that is taken; the message is the short reason (see `reasons`)."""


@dataclass(frozen=True)
class Header:
    """Kind, size in pixels as stored, frames (or pages), bits of a channel, EXIF's orientation; whether a JPEG may have
    several scans, all of which are in memory until it is decoded."""

    kind: str
    width: int
    height: int
    frames: int = 1
    depth: int = 8
    orientation: int = 1
    several_scans: bool = False


# Bounds on what a hostile header can make us, or the decoder, walk.
_MOST_SCANS = 100  # a progressive JPEG has about ten; each costs a pass over the whole picture
_MOST_PAGES = 1025  # pages of a TIFF are counted so far
_MOST_PARTS = 2**18  # blocks, chunks or segments: 64 MiB of a GIF where they are full; empty ones would take seconds
_MOST_TAGS = 512  # of one page
_MOST_FRAMES = 2**17  # of a GIF are counted so far
_INTEGERS = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 16: 8, 17: 8}  # bytes of what libtiff takes for one, by its kind
_EXIF = b"Exif\0\0"
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)  # frames whose scans each have all of some colours
_EOI, _SOS = 0xD9, 0xDA
# With its length, or the bytes of a film that follows the picture would count.
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")


def sniff(body: bytes) -> Header:
    """The header of a picture; NotAnImageError (with a stable reason) for whatever else it is."""
    kind = kind_of(body)
    if kind is None:
        raise NotAnImageError(f"not an image: {_text_kind(body)}")
    try:
        header = KINDS[kind][1](body)
    except (struct.error, IndexError, ValueError):
        raise NotAnImageError(f"broken header: {kind}") from None
    if header.width < 1 or header.height < 1:
        raise NotAnImageError(f"broken header: {kind}")
    return header


def kind_of(body: bytes) -> str | None:
    """What a body begins like: jpeg, png, webp, gif, bmp or tiff; None where it is no picture that is taken."""
    return next((kind for kind, (begins, _) in KINDS.items() if begins(body)), None)


def refusal(header: Header, *, max_pixels: int, max_frames: int) -> str | None:
    """Why a picture is not decoded, None where it may be."""
    if header.width * header.height > max_pixels:
        return "too many pixels"
    return "too many frames" if header.frames > max_frames else None


def _jpeg(body: bytes) -> Header:
    """The first start-of-frame, and whether the first scan may be one of many."""
    frame, exif, has_others = None, b"", False
    for marker, at in segments(body):
        if frame is None and marker in _FRAMES:
            frame = marker, *struct.unpack_from(">BHHB", body, at + 4)
        elif marker == 0xE1 and body[at + 4 : at + 10] == _EXIF:
            exif = exif or body[at + 10 : at + 2 + _length(body, at)]
        elif marker == _SOS and frame is not None:
            # Where all colours are in the first scan, libjpeg reads no other; and to look for them takes time.
            has_others = frame[0] not in _SEQUENTIAL or body[at + 4 : at + 5] < bytes([frame[4]])
            if has_others and next(islice(_SCAN.finditer(body, at), _MOST_SCANS, None), None):
                raise NotAnImageError("too many scans")
    if frame is None:
        raise ValueError("no frame")
    _, depth, height, width, _ = frame
    return Header("jpeg", width, height, 1, depth, _orientation(exif), has_others)


def segments(body: bytes) -> Iterator[tuple[int, int]]:
    """Marker and start of each segment (ITU T.81, B.2) to the first scan, past stray bytes, as libjpeg reads them."""
    at = 2
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(body, at)
        if found is None or found.start() + 4 > len(body):
            return
        at = found.start()
        marker = body[at + 1]
        yield marker, at
        if marker in (_EOI, _SOS):
            return
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8  # without a length
        at += 2 if alone else 2 + _length(body, at)


def _length(body: bytes, at: int) -> int:
    return max(2, int.from_bytes(body[at + 2 : at + 4]))


def _png(body: bytes) -> Header:
    if body[12:16] != b"IHDR":
        raise ValueError("no IHDR")
    width, height, depth = struct.unpack_from(">IIB", body, 16)
    frames, exif, at, parts = 1, b"", 8, 0
    while at + 8 <= len(body):
        length, name = struct.unpack_from(">I4s", body, at)
        parts += 1
        if parts > _MOST_PARTS:
            raise ValueError("too many chunks")
        if name == b"acTL":  # APNG
            frames = struct.unpack_from(">I", body, at + 8)[0]
        if name == b"eXIf":
            exif = exif or body[at + 8 : at + 8 + length]
        if name in (b"acTL", b"IDAT"):
            break
        at += 12 + length
    return Header("png", width, height, frames, depth, _orientation(exif))


def _webp(body: bytes) -> Header:
    """RFC 9649: a lossy, a lossless or an extended file."""
    kind = body[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (24, 27))
        frames, exif = 0, b""
        for name, start, end in _riff_chunks(body):
            frames += name == b"ANMF"
            if name == b"EXIF":
                exif = exif or body[start:end]
        return Header("webp", width, height, max(1, frames), 8, _orientation(exif.removeprefix(_EXIF)))
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", body, 21)[0]
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and body[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    raise ValueError("unknown chunk")


def _riff_chunks(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk."""
    at, parts = 12, 0
    while at + 8 <= len(body):
        length = struct.unpack_from("<I", body, at + 4)[0]
        parts += 1
        if parts > _MOST_PARTS:
            raise ValueError("too many chunks")
        yield body[at : at + 4], at + 8, at + 8 + length
        at += 8 + length + length % 2


def _orientation(exif: bytes) -> int:
    """Tag 274 of the first directory of EXIF, which is laid out as a TIFF; 1 (upright) where it says nothing."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        at = struct.unpack_from(order + "I", exif, 4)[0]
        entries = min(struct.unpack_from(order + "H", exif, at)[0], _MOST_TAGS)
        found = (_tiff_tag(exif, order, at + 2 + 12 * entry) for entry in range(entries))
        turn = next((value for tag, value in found if tag == 274), 1)
    except (KeyError, struct.error):
        return 1
    return turn if 1 <= turn <= 8 else 1


def _gif(body: bytes) -> Header:
    """GIF89a: the screen, or a frame that reaches beyond it; frames are counted block by block."""
    width, height, flags = struct.unpack_from("<HHB", body, 6)
    at = 13 + _colours(flags)
    frames = blocks = 0
    while at < len(body) and body[at] in (0x21, 0x2C) and frames < _MOST_FRAMES:
        if body[at] == 0x2C:
            frames += 1
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", body, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            at += 11 + _colours(flags)
        else:
            at += 2
        while at < len(body) and body[at]:
            at += 1 + body[at]
            blocks += 1
            if blocks > _MOST_PARTS:
                raise ValueError("too many blocks")
        at += 1
    return Header("gif", width, height, max(1, frames))


def _colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp(body: bytes) -> Header:
    if struct.unpack_from("<I", body, 14)[0] == 12:  # OS/2
        return Header("bmp", *struct.unpack_from("<HH", body, 18))
    width, height = struct.unpack_from("<ii", body, 18)
    return Header("bmp", width, abs(height))  # a negative height: rows from the top


def _tiff(body: bytes) -> Header:
    """TIFF 6.0: the largest of its pages counts, and of its tiles, which are inflated whole; the first page is seen."""
    order = "<" if body[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", body, 4)[0]
    width = height = pages = depth = 0
    seen: set[int] = set()
    while at and at not in seen and pages < _MOST_PAGES:  # a file may link its pages in a ring
        seen.add(at)
        entries = struct.unpack_from(order + "H", body, at)[0]
        if entries > _MOST_TAGS:
            raise ValueError("too many tags")
        # Backwards: of a tag that comes twice the first counts, as it does for libtiff.
        tags = dict(_tiff_tag(body, order, at + 2 + 12 * entry) for entry in reversed(range(entries)))
        width = max(width, tags.get(256, 0), tags.get(322, 0))
        height = max(height, tags.get(257, 0), tags.get(323, 0))
        depth, pages = depth or max(8, tags.get(258, 1)), pages + 1
        at = struct.unpack_from(order + "I", body, at + 2 + 12 * entries)[0]
    return Header("tiff", width, height, pages, depth or 8)


def _tiff_tag(body: bytes, order: str, at: int) -> tuple[int, int]:
    """A tag and its first value, where that is a number in reach."""
    tag, kind, count, value = struct.unpack_from(order + "HHII", body, at)
    size = _INTEGERS.get(kind)
    if size is None:
        return tag, 0
    start = at + 8 if size * count <= 4 else value
    return tag, int.from_bytes(body[start : start + size], "little" if order == "<" else "big")


KINDS: dict[str, tuple[Callable[[bytes], bool], Callable[[bytes], Header]]] = {
    "jpeg": (lambda body: body.startswith(b"\xff\xd8\xff"), _jpeg),
    "png": (lambda body: body.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    "webp": (lambda body: body[:4] == b"RIFF" and body[8:12] == b"WEBP", _webp),
    "gif": (lambda body: body.startswith((b"GIF87a", b"GIF89a")), _gif),
    "bmp": (lambda body: body.startswith(b"BM") and body[6:10] == b"\0\0\0\0", _bmp),
    "tiff": (lambda body: body.startswith((b"II*\0", b"MM\0*")), _tiff),
}


def _text_kind(body: bytes) -> str:
    """What a body that is no picture is, in one word."""
    head = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "svg"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in head:
        return "html"
    if head.startswith((b"<script", b"#!", b"function", b"<?php")):
        return "script"
    for start, kind in ((b"<", "markup"), (b"{", "json"), (b"[", "json"), (b"%pdf", "pdf")):
        if head.startswith(start):
            return kind
    if head[4:12] in (b"ftypavif", b"ftypheic", b"ftypmif1"):
        return head[8:12].decode()
    return "text" if head.isascii() and b"\0" not in head else "unknown"
