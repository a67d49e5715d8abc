"""Scenes as JPEG, antialiased, and no two of them alike."""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from vlp_core.identity import generator
from vlp_core.miniature.scenes import BACKGROUNDS, COLOURS, Colour, Scene, Thing

SUPERSAMPLING = 3
QUALITY = 90
APART = 12.0  # least mean absolute difference (of 255) between the 8x8 thumbnails of two scenes
Points = list[tuple[float, float]]


class Studio:
    """Renders scenes and keeps every two of them at least `APART` from each other, so that none passes for a copy."""

    def __init__(self, capacity: int = 4096) -> None:
        self._seen = np.empty((capacity, 192), np.int16)
        self._means = np.empty((capacity, 3), np.float32)
        self._count = 0

    def shoot(self, candidate: Callable[[int], Scene]) -> tuple[Scene, bytes]:
        """The first of candidate(0), candidate(1), … that resembles no earlier scene, and its JPEG."""
        for attempt in range(1000):
            scene = candidate(attempt)
            image = render(scene)
            if self._admit(thumbnail(image)):
                return scene, jpeg(image)
        raise RuntimeError(f"no scene unlike the {self._count} others in 1000 attempts")

    def _admit(self, small: np.ndarray) -> bool:
        flat, mean = small.reshape(192).astype(np.int16), small.reshape(64, 3).mean(0, dtype=np.float32)
        # The distance of the means bounds the distance from below: only few rows need a full comparison.
        near = np.abs(self._means[: self._count] - mean).mean(1) <= APART
        others = self._seen[: self._count][near]
        if len(others) and np.abs(others - flat).mean(1).min() <= APART:
            return False
        if self._count == len(self._seen):
            self._seen = np.concatenate([self._seen, np.empty_like(self._seen)])
            self._means = np.concatenate([self._means, np.empty_like(self._means)])
        self._seen[self._count], self._means[self._count] = flat, mean
        self._count += 1
        return True


def thumbnail(image: Image.Image) -> np.ndarray:
    """Mean colours on a grid: uint8 [8, 8, 3]."""
    return np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BOX))


def jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def render(scene: Scene) -> Image.Image:
    rng = generator("noise", scene.noise)
    image = _background(scene, rng)
    short = min(scene.width, scene.height)
    for thing in scene.things:
        _paint(image, thing, short, rng)
    return image


def _background(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """A slope and blotches around the base colour: varied, and rich enough for perceptual hashes to be steady."""
    across, down = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    angle, steepness = rng.uniform(0, 2 * math.pi), rng.uniform(8, 26)
    slope = steepness * (across * math.cos(angle) + down * math.sin(angle))
    light = slope + rng.uniform(-20, 20, (5, 5))
    tint = rng.uniform(-13, 13, 3) + rng.uniform(-12, 12, (5, 5, 3))
    grid = np.asarray(BACKGROUNDS[scene.background]) + light[..., None] + tint
    coarse = Image.fromarray(np.clip(grid, 0, 255).astype(np.uint8))
    return coarse.resize((scene.width, scene.height), Image.Resampling.BICUBIC)


def _paint(image: Image.Image, thing: Thing, short: int, rng: np.random.Generator) -> None:
    radius = thing.radius * short
    half = math.ceil(radius) + 1
    x, y = image.width / 2 + thing.x * short, image.height / 2 + thing.y * short
    corner = round(x) - half, round(y) - half
    stencil = _stencil(thing, radius, half)
    colour = COLOURS[thing.kind.colour]
    image.paste(colour, corner, stencil.reduce(SUPERSAMPLING))
    if thing.texture != "plain":
        pattern = _PATTERNS[thing.texture](2 * half * SUPERSAMPLING, short * SUPERSAMPLING, rng)
        image.paste(_shade(colour), corner, ImageChops.multiply(stencil, pattern).reduce(SUPERSAMPLING))


def _shade(colour: Colour) -> Colour:
    """A texture's second colour: far lighter than dark colours, far darker than light ones, of the same hue."""
    light = sum(colour) > 400 or (colour[0] > 240 and colour[1] > 100)
    mixed = [0.5 * c for c in colour] if light else [0.35 * c + 0.65 * 255 for c in colour]
    red, green, blue = (round(c) for c in mixed)
    return red, green, blue


# Shapes: outlines within the unit disc, y downwards


def _stencil(thing: Thing, radius: float, half: int) -> Image.Image:
    side = 2 * half * SUPERSAMPLING
    stencil = Image.new("L", (side, side))
    pencil = ImageDraw.Draw(stencil)
    scale, middle, turn = radius * SUPERSAMPLING, side / 2, math.radians(thing.turn)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    for points, ink in _OUTLINES[thing.kind.shape]:
        pencil.polygon([(middle + x * cos - y * sin, middle + x * sin + y * cos) for x, y in points], fill=ink)
    return stencil


def _regular(corners: int, radius: float = 1.0, inner: float | None = None) -> Points:
    """A regular polygon with a corner at the top; with `inner`, a star."""
    radii = [radius] if inner is None else [radius, inner]
    total = corners * len(radii)
    angles = [2 * math.pi * i / total for i in range(total)]
    return [(radii[i % len(radii)] * math.sin(a), -radii[i % len(radii)] * math.cos(a)) for i, a in enumerate(angles)]


def _heart() -> Points:
    angles = [2 * math.pi * i / 64 for i in range(64)]
    xs = [16 * math.sin(a) ** 3 for a in angles]
    ys = [13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a) for a in angles]
    return [(x / 17, -(y + 2.5) / 17) for x, y in zip(xs, ys, strict=True)]


def _cross(arm: float = 0.3, reach: float = 0.95) -> Points:
    quarter = [(arm, -reach), (arm, -arm), (reach, -arm)]
    points: Points = []
    for _ in range(4):
        points += quarter
        quarter = [(-y, x) for x, y in quarter]
    return points


_OUTLINES: dict[str, list[tuple[Points, int]]] = {
    "circle": [(_regular(72, 0.92), 255)],
    "square": [([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)], 255)],
    "triangle": [([(0, -0.95), (0.95, 0.75), (-0.95, 0.75)], 255)],
    "star": [(_regular(5, 1.0, 0.42), 255)],
    "cross": [(_cross(), 255)],
    "ring": [(_regular(72, 0.96), 255), (_regular(72, 0.5), 0)],
    "heart": [(_heart(), 255)],
    "diamond": [([(0, -1.0), (0.68, 0), (0, 1.0), (-0.68, 0)], 255)],
}


# Textures: stencils of `side` pixels; their period follows the picture's shorter side, not the object


def _stripes(side: int, short: int, rng: np.random.Generator) -> Image.Image:
    pattern = Image.new("L", (side, side))
    pencil = ImageDraw.Draw(pattern)
    period = short * float(rng.uniform(0.078, 0.09))
    lean = (0.0, 1.0, -1.0)[int(rng.integers(3))] * side
    start = float(rng.random()) * period - side
    upright = bool(rng.random() < 0.5)
    for i in range(math.ceil(3 * side / period)):
        at = start + i * period
        line = [(at, 0.0), (at + lean, float(side))]
        pencil.line(line if upright else [(y, x) for x, y in line], fill=255, width=round(0.4 * period))
    return pattern


def _dots(side: int, short: int, rng: np.random.Generator) -> Image.Image:
    pattern = Image.new("L", (side, side))
    pencil = ImageDraw.Draw(pattern)
    period = short * float(rng.uniform(0.082, 0.095))
    left, top = rng.random(2) * period
    for row in range(-1, math.ceil(side / period) + 1):
        for column in range(-1, math.ceil(side / period) + 1):
            x, y = left + (column + 0.5 * (row % 2)) * period, top + row * period
            pencil.ellipse((x - 0.31 * period, y - 0.31 * period, x + 0.31 * period, y + 0.31 * period), fill=255)
    return pattern


def _checks(side: int, short: int, rng: np.random.Generator) -> Image.Image:
    pattern = Image.new("L", (side, side))
    pencil = ImageDraw.Draw(pattern)
    cell = short * float(rng.uniform(0.05, 0.06))
    left, top = -rng.random(2) * 2 * cell
    for row in range(math.ceil(side / cell) + 2):
        for column in range(row % 2, math.ceil(side / cell) + 2, 2):
            x, y = left + column * cell, top + row * cell
            pencil.rectangle((x, y, x + cell, y + cell), fill=255)
    return pattern


_PATTERNS = {"striped": _stripes, "dotted": _dots, "checkered": _checks}
