#!/usr/bin/env python
"""How many altered copies of photos are found, how many distinct photos are taken for copies, and how long it takes.

    infra/bench/copies.py --photos flickr8k.zip --drawn false.png
    infra/bench/copies.py --photos flickr8k.zip --rows 100000 1000000

Each photo of a zip is altered in each way, and copies are looked for among all the photos: a copy is found if it is
paired with the photo that it was made of. False are pairs of photos, and of a copy and another photo, whose photos are
no pair themselves; pairs among the photos are counted apart and drawn, for some of them are copies. `--rows` draws
looks like the photos': normal variables with their covariances, a tenth of them altered a little under another row.
"""

import io
import resource
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont, ImageOps

from vlp_core.curation import alike
from vlp_core.curation.alike import Looks
from vlp_core.curation.hashes import colours, grey, phash, thumbnail
from vlp_core.curation.settings import Near
from vlp_core.identity import generator

_WORDS = ["summer", "sale", "only", "today", "best", "photo", "of", "the", "year", "all", "rights", "reserved", "shop"]


@dataclass(frozen=True, kw_only=True)
class Bench:
    photos: Path
    """A zip of photos."""
    most: int = 10**9
    """Photos that are altered; all are looked among."""
    near: Near = Near()
    drawn: Path | None = None
    """Where to draw the pairs found among the photos."""
    rows: tuple[int, ...] = ()
    """Time this many looks instead."""


def _encoded(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _resized(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def _written(image: Image.Image, rng: np.random.Generator, *, bar: bool) -> Image.Image:
    """A line of text of 8 to 16 % of the height, anywhere, or on an opaque bar at the upper or lower edge."""
    copy = image.copy()
    pencil, (width, height) = ImageDraw.Draw(copy), copy.size
    size = int(height * rng.uniform(0.08, 0.16))
    top = int(rng.uniform(0, height - 1.3 * size))
    ink = int(rng.integers(2)) * 255
    if bar:
        top = int(rng.integers(2)) * int(height - 1.4 * size)
        pencil.rectangle((0, top, width, top + 1.4 * size), fill=(255 - ink,) * 3)
    words = " ".join(rng.choice(_WORDS, 4))
    pencil.text((int(0.04 * width), top), words, font=ImageFont.load_default(size), fill=(ink,) * 3)
    return copy


def _corner(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    x, y = (0.05 * rng.integers(2, size=2)).tolist()
    return _cropped(image, x, y, 0.05 - x, 0.05 - y)


Way = Callable[[Image.Image, np.random.Generator], bytes]
WAYS: dict[str, Way] = {
    "recompressed, quality 50": lambda image, _: _encoded(image, 50),
    "recompressed, quality 25": lambda image, _: _encoded(image, 25),
    "resized by 1/2": lambda image, _: _encoded(_resized(image, 0.5)),
    "resized by 3/2": lambda image, _: _encoded(_resized(image, 1.5)),
    "overlaid with text": lambda image, rng: _encoded(_written(image, rng, bar=False)),
    "overlaid with a bar of text": lambda image, rng: _encoded(_written(image, rng, bar=True)),
    "cropped by 5 % at each side": lambda image, _: _encoded(_cropped(image, 0.05, 0.05, 0.05, 0.05)),
    "cropped by 5 % at one corner": lambda image, rng: _encoded(_corner(image, rng)),
    "flipped": lambda image, _: _encoded(ImageOps.mirror(image)),
    "flipped, cropped at one corner": lambda image, rng: _encoded(_corner(ImageOps.mirror(image), rng)),
}


def looks(bodies: Iterable[bytes]) -> Looks:
    small = [thumbnail(body) for body in bodies]
    packed = [b"".join(make(one) for one in small) for make in (colours, grey)]
    colour, light = (np.frombuffer(column, np.uint8).reshape(len(small), -1) for column in packed)
    return Looks(np.array([phash(one) for one in small], np.uint64), colour, light)


def _listed(chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64)), *chunks]
    return np.concatenate([left for left, _ in parts]), np.concatenate([right for _, right in parts])


def find(bench: Bench) -> None:
    with zipfile.ZipFile(bench.photos) as file:
        bodies = [file.read(name) for name in sorted(file.namelist()) if name.endswith((".jpg", ".jpeg", ".png"))]
    photos = looks(bodies)
    left, right = _listed(alike.pairs(photos, bench.near))
    million = len(bodies) * (len(bodies) - 1) / 2e6
    print(f"{len(bodies):,} photos, {len(left)} pairs of them found ({len(left) / million:.2f} in a million)")
    if bench.drawn:
        _draw(bodies, left, right, bench.drawn)
    known = set(zip(left.tolist(), right.tolist(), strict=True))
    altered = bodies[: bench.most]
    print(f"{'copies':<32} {'hash alone':>10} {'found':>8} {'false in a million':>20}")
    for name, way in WAYS.items():
        copies = looks(way(_opened(body), generator(name, row)) for row, body in enumerate(altered))
        shares = []
        for near in (Near(bits=bench.near.bits, colour=bench.near.colour, alike=1), bench.near):
            copy, photo = _listed(alike.between(copies, photos, near))
            shares.append(len(np.unique(copy[copy == photo])) / len(altered))
        others = zip(copy[copy != photo].tolist(), photo[copy != photo].tolist(), strict=True)
        false = sum((min(pair), max(pair)) not in known for pair in others)
        print(
            f"{name:<32} {shares[0]:>10.2%} {shares[1]:>8.2%} {false / (len(altered) * len(bodies) / 1e6):>20.3f}",
            flush=True,
        )


def _opened(body: bytes) -> Image.Image:
    with Image.open(io.BytesIO(body)) as image:
        return image.convert("RGB")


def _draw(bodies: list[bytes], left: np.ndarray, right: np.ndarray, path: Path) -> None:
    sheet = Image.new("RGB", (6 * 270, 140 * -(-len(left) // 6)), "white")
    for place, pair in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        for turn, row in enumerate(pair):
            image = ImageOps.contain(_opened(bodies[row]), (128, 128))
            sheet.paste(image, (place % 6 * 270 + turn * 130, place // 6 * 140))
    sheet.save(path)


def scale(bench: Bench) -> None:
    """Prints time and peak memory of all pairs of rows that are drawn like the photos."""
    with zipfile.ZipFile(bench.photos) as file:
        known = looks(file.read(name) for name in sorted(file.namelist())[:8000] if name.endswith((".jpg", ".png")))
    values = np.concatenate([known.grey, known.colour], axis=1).astype(np.float32)
    mean = values.mean(axis=0)
    spread, mix = np.linalg.eigh(np.cov(values.T))
    mix = (mix * np.sqrt(np.maximum(spread, 0))).T.astype(np.float32)
    for rows in bench.rows:
        rng = np.random.default_rng(0)
        packed = np.empty((rows, values.shape[1]), np.uint8)
        own = rows - rows // 10
        for start in range(0, own, 2**16):
            drawn = rng.standard_normal((min(2**16, own - start), len(mix)), np.float32) @ mix
            packed[start : start + len(drawn)] = np.clip(drawn + mean, 0, 255)
        packed[own:] = np.clip(
            packed[: rows - own].astype(np.int16) + rng.integers(-6, 7, (rows - own, values.shape[1])), 0, 255
        )
        light, colour = np.split(packed, [256], axis=1)
        made = Looks(
            rng.integers(0, 2**63, rows, dtype=np.uint64), np.ascontiguousarray(colour), np.ascontiguousarray(light)
        )
        del packed, light, colour
        begun, worked, pairs, true = time.perf_counter(), time.process_time(), 0, 0
        for left, right in alike.pairs(made, bench.near):
            pairs += len(left)
            true += int((right - left == own).sum())
        seconds, cpu = time.perf_counter() - begun, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{rows:>11,} rows {seconds:8.1f} s {cpu:8.1f} CPU s {1e6 * cpu / rows:6.1f} µs a row {peak:5.1f} GiB peak"
            f" {pairs:,} pairs, {true / (rows - own):.2%} of the altered rows found",
            flush=True,
        )


if __name__ == "__main__":
    bench = tyro.cli(Bench)
    (scale if bench.rows else find)(bench)
