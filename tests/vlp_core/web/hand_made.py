"""Pictures in forms that Pillow reads and does not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

TIFF_KINDS = {"B": 1, "H": 3, "I": 4, "b": 6, "h": 8, "i": 9, "Q": 16, "q": 17}
"""Kinds of a TIFF's whole numbers, by `struct`'s names for them."""


def tiled_tiff(image: Image.Image, side: int, code: str = "I") -> bytes:
    """A TIFF in grey with the picture in the corner of one tile of zeros, whose side is a number of some kind."""
    tile = Image.new("L", (side, side))
    tile.paste(image)
    pixels = zlib.compress(tile.tobytes())
    wide = struct.pack("<" + code, side)
    start = 16 + 2 + 12 * 10 + 4  # of the pixels, after a number and ten tags
    short = {256: image.width, 257: image.height, 258: 8, 259: 8, 262: 1, 277: 1, 324: start, 325: len(pixels)}
    fields = {tag: (4, struct.pack("<I", value)) for tag, value in short.items()}
    fields |= dict.fromkeys((322, 323), (TIFF_KINDS[code], wide if len(wide) <= 4 else struct.pack("<I", 8)))
    entries = [
        struct.pack("<HHI", tag, kind, 1) + field.ljust(4, b"\0") for tag, (kind, field) in sorted(fields.items())
    ]
    head = b"II*\0" + struct.pack("<I", 16) + wide.ljust(8, b"\0")
    return head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + pixels


def grey_png(grey: np.ndarray, depth: int, clear: int) -> bytes:
    """A PNG of so many bits a pixel, in which one grey is clear."""
    bits = np.unpackbits(grey.astype(np.uint8)[..., None], axis=2)[..., -depth:].reshape(len(grey), -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], depth, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"tRNS": struct.pack(">H", clear), b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks.items())


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def jpeg_in_scans(image: Image.Image) -> bytes:
    """A baseline JPEG in which each colour has a scan of its own: three JPEGs in grey, of the same tables, in one."""
    parts = []
    for band in image.convert("YCbCr").split():
        buffer = io.BytesIO()
        band.save(buffer, "JPEG", quality=95)
        parts.append(buffer.getvalue().partition(b"\xff\xda\0\x08\1\1\0\0\x3f\0"))
    head = parts[0][0]
    frame = head.index(b"\xff\xc0\0\x0b")
    colours = b"\3" + b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    head = head[:frame] + b"\xff\xc0\0\x11" + head[frame + 4 : frame + 9] + colours + head[frame + 13 :]
    scans = [
        b"\xff\xda\0\x08\1" + bytes([number]) + scan[6:] + data.removesuffix(b"\xff\xd9")
        for number, (_, scan, data) in enumerate(parts, 1)
    ]
    return head + b"".join(scans) + b"\xff\xd9"
