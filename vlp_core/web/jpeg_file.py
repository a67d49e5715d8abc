"""A JPEG file without what its picture does not need (EXIF, XMP, comments, thumbnails, whatever follows the picture),
and its colour profile."""

import re
import struct

from vlp_core.web.sniff import segments

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, by Huffman codes: what every reader takes
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman codes, quantisation, restart interval
_JFIF, _ICC, _ADOBE = (0xE0, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")
# Not a stuffed zero, a restart or a fill byte: the end of a scan's data (ITU T.81, B.1.1).
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def only_picture(body: bytes) -> bytes | None:
    """The same picture, bit for bit, with its JFIF and Adobe markers and its ICC profile and no other metadata.

    None where it is not laid out as ITU T.81 (B.2) says, or is of a kind that not every reader takes.
    """
    if body[:2] != b"\xff\xd8":
        return None
    parts, at, scans = [body[:2]], 2, 0
    try:
        while True:
            while body[at] == 0xFF == body[at + 1]:  # fill bytes
                at += 1
            if body[at] != 0xFF:
                return None
            marker = body[at + 1]
            if marker == _EOI:
                return b"".join([*parts, body[at : at + 2]]) if scans else None
            end = at + 2 + struct.unpack_from(">H", body, at + 2)[0]
            if marker == _SOS:
                found = _AFTER_SCAN.search(body, end)
                if found is None:
                    return None
                end, scans = found.start(), scans + 1
            elif marker not in _FRAMES and marker not in _TABLES and not _is_metadata(marker):
                return None
            parts.append(_kept(marker, body[at:end]))
            at = end
    except (IndexError, struct.error):
        return None


def profile_of(body: bytes) -> bytes | None:
    """The ICC profile, put together as libjpeg does; None where there is none or a part is missing."""
    parts: dict[int, bytes] = {}
    counts: set[int] = set()
    found = 0
    for marker, at in segments(body):
        if marker == _ICC[0] and body.startswith(_ICC[1], at + 4):
            number, count = body[at + 16 : at + 18].ljust(2, b"\0")
            parts[number] = body[at + 18 : at + 2 + int.from_bytes(body[at + 2 : at + 4])]
            counts.add(count)
            found += 1
    whole = counts == {found} and parts.keys() == set(range(1, found + 1))
    return b"".join(parts[number] for number in sorted(parts)) if whole else None


def without_profile(body: bytes) -> tuple[bytes, bytes | None]:
    """A file that decodes as if it had no ICC profile, and `profile_of`."""
    return body.replace(_ICC[1], bytes(len(_ICC[1]))), profile_of(body)


def _is_metadata(marker: int) -> bool:
    return 0xE0 <= marker <= 0xEF or marker == 0xFE


def _kept(marker: int, segment: bytes) -> bytes:
    """What stays of a segment."""
    if not _is_metadata(marker) or any(marker == kind and segment.startswith(name, 4) for kind, name in (_ICC, _ADOBE)):
        return segment
    if marker == _JFIF[0] and segment.startswith(_JFIF[1], 4) and len(segment) >= 18:
        return segment[:2] + struct.pack(">H", 16) + segment[4:16] + bytes(2)  # without its thumbnail
    return b""
