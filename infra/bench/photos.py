"""Photos to fetch: drawn ones with the spectrum and the edges that photos have, or real ones out of a zip."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from vlp_core.web.colours import as_srgb
from vlp_core.web.jpeg_file import profile_of

REAL = "coco_mini.zip"
WIDEST = (2560, 1920)
QUALITY = 88  # of the JPEGs drawn; at 640×480 some 55 kB, which decode in the time that photos of that size take


def photo_sets(sizes: Sequence[str], distinct: int, folder: Path | None) -> Iterator[tuple[str, list[bytes]]]:
    """JPEGs by their set's name: so many scenes at each size ("640x480"), and coco_mini.zip where the folder has it."""
    scaled = [(int(width), int(height)) for width, height in (size.split("x") for size in sizes)]
    scenes = [drawn(number, scaled) for number in range(distinct)] if sizes else []
    for number, size in enumerate(sizes):
        yield size, [scene[number] for scene in scenes]
    if folder is not None and (folder / REAL).exists():
        yield "coco_mini", real(folder / REAL)


def drawn(number: int, sizes: list[tuple[int, int]]) -> list[bytes]:
    """One scene as JPEGs of these sizes (width, height): clouds of a power spectrum, and polygons over them."""
    rng = np.random.default_rng(number)
    width, height = WIDEST
    scene = np.zeros((height, width, 3), np.float32)
    cells = 4
    while cells <= width:
        rows = max(3, cells * height // width)
        noise = rng.standard_normal((rows, cells, 1), np.float32) + 0.35 * rng.standard_normal(
            (rows, cells, 3), np.float32
        )
        scene += cv2.resize(noise, WIDEST, interpolation=cv2.INTER_CUBIC) * (4 / cells) ** 0.7
        cells *= 2
    scene = scene * (60 / scene.std()) + rng.uniform(90, 150, 3).astype(np.float32)
    for _ in range(40):
        _draw_polygon(scene, rng)
    scene = scene.clip(0, 255).astype(np.uint8)
    scaled = (cv2.resize(scene, size, interpolation=cv2.INTER_AREA) for size in sizes)
    return [cv2.imencode(".jpg", each, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for each in scaled]


def _draw_polygon(scene: np.ndarray, rng: np.random.Generator) -> None:
    height, width = scene.shape[:2]
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corners = (rng.uniform(0, 1, 2) * (width, height) + rng.uniform(0.01, 0.15) * width * around).astype(np.int32)
    (left, top), (right, bottom) = corners.min(0).clip(0), np.minimum(corners.max(0) + 2, (width, height))
    if left >= right or top >= bottom:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, [corners - (left, top)], 255, cv2.LINE_AA)
    share = 0.7 / 255 * mask[..., None].astype(np.float32)
    part = scene[top:bottom, left:right]
    part += share * (rng.uniform(0, 255, 3).astype(np.float32) - part)


def in_other_colours(body: bytes) -> bool:
    """Whether a photo has a profile by which its colours are not sRGB's."""
    some = np.zeros((1, 1, 3), np.uint8)
    return as_srgb(some, profile_of(body)) is not some


def real(path: Path) -> list[bytes]:
    """The JPEGs of a zip."""
    with zipfile.ZipFile(path) as file:
        return [file.read(name) for name in sorted(file.namelist()) if name.lower().endswith((".jpg", ".jpeg"))]
