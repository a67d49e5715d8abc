"""Rows of a data set without its pictures: lists, IMAGES with their index, HASHES and scores, of any number.

All rows of a shard have one picture, which is drawn where pictures are shown.

Of all rows 30 % are copies of others in numbers that follow a power law (of 10 million some 50,000 show one picture): a
third of them have the same bytes, a third look the same, a third are near in hash and colours. Thumbnails have less of
the finer detail, as photos do; hashes are fair bits (`near.py` has such as real ones are). A caption has 3 to 15 of
20,000 words, which follow a power law too, and every tenth picture has two. What is drawn for a row depends on its
number alone.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from vlp_core.data.layout import CAPTIONS, HASHES, IMAGES, INDEX, SUCCESS, shard_name
from vlp_core.files import write_bytes, write_table
from vlp_core.uids import mix

Words = NDArray[np.uint64]

SHARD = 10_000
VOCABULARY = 20_000
_COPIES = 0.3
_SYLLABLES = [start + end for start, end in zip("bcdfghjklmnprstvwxyz", "aeiou" * 4, strict=True)]


@dataclass(frozen=True)
class Rows:
    """Some of `count` rows: which picture each shows, and what kind of copy it is (0: an original)."""

    at: Words
    count: int

    def draw(self, what: int, of: Words | None = None) -> NDArray[np.float64]:
        """[N] from 0 to 1."""
        return (self.bits(what, of) >> np.uint64(11)) * 2.0**-53

    def bits(self, what: int, of: Words | None = None) -> Words:
        return mix((self.at if of is None else of) * np.uint64(256) + np.uint64(what))

    @property
    def kind(self) -> NDArray[np.int64]:
        chance = self.draw(0)
        return np.where(chance < _COPIES, 1 + (chance * 3 / _COPIES).astype(int), 0)

    @property
    def shown(self) -> Words:
        theirs = (self.count * self.draw(1) ** 4).astype(np.uint64)
        return np.where(self.kind > 0, theirs, self.at)


def write_rows(folder: Path, count: int) -> None:
    """list/, images/, hashes/ and scores/ under `folder`."""
    words, picture = vocabulary(), _picture()
    for number, start in enumerate(range(0, count, SHARD)):
        rows = Rows(np.arange(start, min(count, start + SHARD), dtype=np.uint64), count)
        uids, sha256 = _hex([rows.bits(2), rows.bits(3)]), _sha256(rows)
        captions = _captions(rows, words)
        sides = [pa.array(150 + (900 * rows.draw(side, rows.shown)).astype(np.int32)) for side in (10, 11)]
        name = f"{shard_name(number)}.parquet"
        images = _images(uids, sha256, captions, sides)
        write_table(folder / "list" / name, pa.table({"url": images["url"], "caption": images["caption"]}))
        write_table(folder / "images" / name, images)
        index = _index(uids, sha256, captions, len(picture))
        write_table(folder / "images" / f"{shard_name(number)}_index.parquet", index)
        write_bytes(folder / "images" / f"{shard_name(number)}.tar", bytes(512) + picture)
        looks = _looks(rows)
        write_table(folder / "hashes" / name, pa.table([uids, sha256, *looks, *sides], schema=HASHES))
        cosines = pa.array(
            (0.25 + 0.05 * np.random.default_rng(number).standard_normal(len(pc.list_flatten(captions)))).astype(
                np.float32
            )
        )
        scores = pa.ListArray.from_arrays(captions.offsets, cosines)
        write_table(folder / "scores" / name, pa.table({"uid": uids, "clip": scores}))


def vocabulary() -> pa.Array:
    numbers = range(VOCABULARY)
    made = (
        "".join(_SYLLABLES[number // 20**place % 20] for place in range(3)) + ("s" * (number // 8000))
        for number in numbers
    )
    return pa.array(made, pa.string())


def _hex(parts: list[Words]) -> pa.Array:
    text = np.stack(parts, axis=1).astype(">u8").tobytes().hex().encode()
    digits = 16 * len(parts)
    ends = np.arange(len(parts[0]) + 1, dtype=np.int32) * digits
    return pa.StringArray.from_buffers(len(parts[0]), pa.py_buffer(ends), pa.py_buffer(text))


def _sha256(rows: Rows) -> pa.Array:
    """Of the picture for an original and its copies of the same bytes, of the row for all others."""
    of = np.where(rows.kind < 2, rows.shown, rows.at + np.uint64(2**40))
    return _hex([rows.bits(20 + part, of) for part in range(4)])


def _captions(rows: Rows, words: pa.Array) -> pa.ListArray:
    pictures = np.repeat(np.arange(len(rows.at)), 1 + (rows.draw(30) < 0.1))
    rng = np.random.default_rng(int(rows.at[0]))
    lengths = rng.integers(3, 16, len(pictures))
    numbers = (VOCABULARY * rng.random(int(lengths.sum())) ** 3).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), words.take(pa.array(numbers))), " ")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(pictures, minlength=len(rows.at)))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), texts).cast(CAPTIONS)


def _images(uids: pa.Array, sha256: pa.Array, captions: pa.ListArray, sides: list[pa.Array]) -> pa.Table:
    rows = len(uids)
    first = pc.list_element(captions, 0)
    columns = {
        "key": uids,
        "url": pc.binary_join_element_wise("http://host.test/", pc.utf8_slice_codeunits(uids, 0, 20), ".jpg", ""),
        "caption": first,
        "status": pa.array([SUCCESS] * rows),
        "width": pa.array(np.full(rows, 256, np.int32)),
        "height": pa.array(np.full(rows, 256, np.int32)),
        "original_width": sides[0],
        "original_height": sides[1],
        "sha256": sha256,
        "uid": uids,
        "captions": captions,
        "source": pa.array(["list"] * rows),
        "bytes": pc.multiply(sides[0].cast(pa.int64()), 50),
    }
    return pa.table([columns.get(field.name, pa.nulls(rows, field.type)) for field in IMAGES], schema=IMAGES)


def _index(uids: pa.Array, sha256: pa.Array, captions: pa.ListArray, length: int) -> pa.Table:
    places = [pa.array(np.full(len(uids), value, np.int64)) for value in (512, length)]
    return pa.table([uids, sha256, *places, captions], schema=INDEX)


def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (36, 84, 214)).save(file, "JPEG")
    return file.getvalue()


def _looks(rows: Rows) -> list[pa.Array]:
    """phash, colour and grey."""
    shown, near = rows.shown, rows.kind == 3
    flipped = np.uint64(1) << (rows.bits(40) % np.uint64(64))
    flipped |= np.where(rows.draw(41) < 0.5, np.uint64(1) << (rows.bits(42) % np.uint64(64)), np.uint64(0))
    phash = rows.bits(43, shown) ^ np.where(near, flipped, np.uint64(0))
    shift = np.where(near, rows.bits(44) % np.uint64(3), np.uint64(0)).astype(np.uint8)[:, None]
    drawn = np.stack([rows.bits(45 + part, shown) for part in range(48)], axis=1).view(np.uint8).astype(np.float32)
    squares = ((4, 0.4, drawn[:, :16]), (8, 0.35, drawn[:, 16:80]), (16, 0.25, drawn[:, 80:336]))
    grey = sum(weight * (values @ _smooth(side, 16)) for side, weight, values in squares)
    colour = (drawn[:, 336:].reshape(-1, 3, 16) @ _smooth(4, 8)).transpose(0, 2, 1)
    columns = (grey.reshape(len(shift), 256), colour.reshape(len(shift), 192))
    grey_bytes, colour_bytes = (np.minimum(values, 250).astype(np.uint8) + shift for values in columns)
    packed = [
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(shift), [None, pa.py_buffer(values.tobytes())])
        for width, values in ((192, colour_bytes), (256, grey_bytes))
    ]
    return [pa.array(phash), *packed]


def _smooth(few: int, many: int) -> NDArray[np.float32]:
    """[few², many²]: a square enlarged by bilinear interpolation."""
    places = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    line = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(few)))
    return np.einsum("ya,xb->abyx", line, line).reshape(few * few, many * many).astype(np.float32)
