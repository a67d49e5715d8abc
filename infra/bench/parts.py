#!/usr/bin/env python
"""Where the CPU time of a picture that is stored goes, and what of it nobody can do without: the limit of `data.py`.

    infra/bench/parts.py
    infra/bench/parts.py --real /data/zips      # coco_mini.zip in it too

Milliseconds of CPU an image in one thread, the least of so many passes: `entropy` is what reading a JPEG's codes takes,
which `decode` contains; `whole` is all of it as the stage does it. Fetching and writing come on top.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import simplejpeg
import tyro
from photos import photo_sets

from vlp_core.web import picture
from vlp_core.web.colours import as_srgb
from vlp_core.web.decode import decoded
from vlp_core.web.fit import fit
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import sniff

PARTS = ("entropy", "decode", "shrink", "colours", "encode", "whole")


@dataclass(frozen=True, kw_only=True)
class Bench:
    sizes: tuple[str, ...] = ("640x480", "1280x960", "2560x1920")
    """Sizes of the photos drawn."""
    real: Path | None = Path(os.environ["VLP_REAL_DATA"]) if "VLP_REAL_DATA" in os.environ else None
    """Folder with coco_mini.zip; default: VLP_REAL_DATA of the environment."""
    distinct: int = 32
    """Photos drawn of each."""
    passes: int = 5


def main(bench: Bench) -> None:
    cv2.setNumThreads(1)
    print(f"{'photos':<10} {'kB':>6} " + " ".join(f"{part:>8}" for part in PARTS))
    for name, bodies in photo_sets(bench.sizes, bench.distinct, bench.real):
        size = sum(map(len, bodies)) / len(bodies) / 1000
        taken = _parts(bodies, bench.passes)
        print(f"{name:<10} {size:>6.0f} " + " ".join(f"{part:>8.2f}" for part in taken), flush=True)


def _parts(bodies: list[bytes], passes: int) -> tuple[float, ...]:
    """Milliseconds an image of each of PARTS."""
    fetch = Fetch()
    headers = [sniff(body) for body in bodies]
    wanted = [fit(header.width, header.height, fetch) for header in headers]
    least = [picture._least(header, size) for header, size in zip(headers, wanted, strict=True)]
    sizes = [(size.width, size.height) for size in wanted]

    def timed(function: Callable[..., Any], given: Iterable[tuple[Any, ...]]) -> tuple[float, list[Any]]:
        return _timed(function, list(given), passes)

    entropy, _ = timed(_read_codes, ((body,) for body in bodies))
    decode, large = timed(decoded, zip(bodies, headers, least, strict=True))
    pixels, profiles = zip(*large, strict=True)
    shrink, small = timed(picture._smaller, zip(pixels, sizes, strict=True))
    colours, seen = timed(as_srgb, zip(small, profiles, strict=True))
    encode, _ = timed(picture._jpeg, ((each, fetch.encode_quality) for each in seen))
    whole, _ = timed(picture.make_store(fetch), zip(bodies, headers, strict=True))
    return entropy, decode, shrink, colours, encode, whole


def _read_codes(body: bytes) -> Any:
    """All of a JPEG's codes are read, and few made pixels."""
    return simplejpeg.decode_jpeg(body, "GRAY", min_height=1, min_width=1)


def _timed(function: Callable[..., Any], calls: list[tuple[Any, ...]], passes: int) -> tuple[float, list[Any]]:
    """Milliseconds of CPU a call, the least of so many passes, and what came."""
    least, found = float("inf"), []
    for _ in range(passes):
        began = time.process_time()
        found = [function(*each) for each in calls]
        least = min(least, time.process_time() - began)
    return least / len(calls) * 1000, found


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
