"""A PNG file's colour profile."""

import struct
import zlib

from vlp_core.web.colours import MOST_BYTES

_SIGNATURE = 8  # bytes


def without_profile(body: bytes) -> tuple[bytes, bytes | None]:
    """The file without its iCCP chunks, and the ICC profile of the first; None where there is none or it is broken."""
    parts: list[bytes] = []
    profile, kept, at = None, 0, _SIGNATURE
    while at + 8 <= len(body):
        length, name = struct.unpack_from(">I4s", body, at)
        end = at + 12 + length
        if name == b"IDAT":
            break
        if name == b"iCCP":
            if not parts:
                profile = _inflated(body[at + 8 : end - 4])
            parts.append(body[kept:at])
            kept = end
        at = end
    return (b"".join([*parts, body[kept:]]), profile) if parts else (body, None)


def _inflated(chunk: bytes) -> bytes | None:
    """A name, how it is packed (0), and the profile (PNG, third edition, 11.3.2.3)."""
    _, _, packed = chunk.partition(b"\0")
    if packed[:1] != b"\0":
        return None
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], MOST_BYTES + 1)
    except zlib.error:
        return None
    return profile if inflate.eof else None
