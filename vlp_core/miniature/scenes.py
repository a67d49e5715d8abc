"""What there is to see: scenes of one or two objects before a soft background.

Positions and sizes are in units of the shorter side, within the central square, so that a centre crop cuts nothing off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np

from vlp_core.identity import generator
from vlp_core.miniature.settings import Corpus

Colour = tuple[int, int, int]
Item = TypeVar("Item")

SIDES = (208, 280)  # the shorter side in pixels: a copy that is cropped a little still has 200

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
COLOURS: dict[str, Colour] = {
    "red": (215, 35, 38),
    "orange": (247, 128, 22),
    "yellow": (252, 214, 36),
    "green": (34, 145, 62),
    "blue": (36, 84, 214),
    "purple": (124, 44, 164),
    "pink": (248, 126, 186),
    "black": (22, 22, 26),
}
SIZES: dict[str, tuple[float, float]] = {"small": (0.2, 0.22), "large": (0.3, 0.33)}
TEXTURES = ("plain", "striped", "dotted", "checkered")
PLACES: dict[str, tuple[int, int]] = {
    "upper left": (-1, -1),
    "top": (0, -1),
    "upper right": (1, -1),
    "left": (-1, 0),
    "centre": (0, 0),
    "right": (1, 0),
    "lower left": (-1, 1),
    "bottom": (0, 1),
    "lower right": (1, 1),
}
RELATIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
# No background bears the name of an object's colour: a caption's colours are its objects'.
BACKGROUNDS: dict[str, Colour] = {
    "white": (228, 229, 232),
    "cream": (238, 228, 202),
    "beige": (206, 188, 158),
    "grey": (150, 151, 153),
    "charcoal": (68, 70, 76),
    "navy": (36, 44, 84),
    "teal": (62, 132, 134),
    "sage": (180, 214, 188),
    "lavender": (198, 190, 226),
    "slate": (98, 112, 132),
}
CONTRAST = 110.0  # least RGB distance between an object and its background


@dataclass(frozen=True, order=True)
class Class:
    """A (colour, shape) combination: what zero-shot classification names."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


CLASSES = tuple(Class(colour, shape) for colour in COLOURS for shape in SHAPES)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object: centre (x, y) from the picture's centre, radius, and rotation in degrees."""

    kind: Class
    size: str
    texture: str
    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Objects on a background. `place` for one object; `relation` of the first to the second for two."""

    things: tuple[Thing, ...]
    place: str | None
    relation: str | None
    background: str
    width: int
    height: int
    noise: int  # seeds the background's blotches and the textures' phase

    @property
    def classes(self) -> list[str]:
        return [str(thing.kind) for thing in self.things]


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def held_out_classes(corpus: Corpus) -> tuple[Class, ...]:
    """The combinations kept for evaluation: of eight, each shape and each colour once."""
    rng = generator(corpus.seed, "held out")
    shapes, colours = rng.permutation(SHAPES), rng.permutation(list(COLOURS))
    spread = [Class(str(colours[(i + i // 8) % 8]), str(shapes[i % 8])) for i in range(corpus.held_out)]
    return tuple(sorted(spread))


def seen_classes(corpus: Corpus) -> tuple[Class, ...]:
    held_out = set(held_out_classes(corpus))
    return tuple(kind for kind in CLASSES if kind not in held_out)


def one_object(rng: np.random.Generator, kind: Class, sides: tuple[int, int] = SIDES) -> Scene:
    """A scene of one object of this class; `sides` bounds the shorter side in pixels."""
    place = pick(rng, tuple(PLACES))
    dx, dy = PLACES[place]
    thing = _thing(rng, kind, 0.15 * dx, 0.15 * dy, jitter=0.02)
    return _scene(rng, (thing,), place, None, sides)


def two_objects(rng: np.random.Generator, first: Class, second: Class, sides: tuple[int, int] = SIDES) -> Scene:
    """A scene of two objects apart from each other, the first in some relation to the second."""
    relation = pick(rng, tuple(RELATIONS))
    dx, dy = RELATIONS[relation]
    slant = float(rng.uniform(-0.1, 0.1))
    x, y = 0.24 * dx + slant * abs(dy), 0.24 * dy + slant * abs(dx)
    things = (_thing(rng, first, x, y, jitter=0.015, scale=0.67), _thing(rng, second, -x, -y, jitter=0.015, scale=0.67))
    return _scene(rng, things, None, relation, sides)


def _thing(rng: np.random.Generator, kind: Class, x: float, y: float, *, jitter: float, scale: float = 1.0) -> Thing:
    size = pick(rng, tuple(SIZES))
    dx, dy = rng.uniform(-jitter, jitter, 2)
    return Thing(
        kind=kind,
        size=size,
        texture=pick(rng, TEXTURES) if rng.random() < 0.35 else "plain",
        x=x + float(dx),
        y=y + float(dy),
        radius=scale * float(rng.uniform(*SIZES[size])),
        turn=float(rng.uniform(-9, 9)),
    )


def _scene(
    rng: np.random.Generator, things: tuple[Thing, ...], place: str | None, relation: str | None, sides: tuple[int, int]
) -> Scene:
    short = int(rng.integers(sides[0], sides[1] + 1))
    long = min(round(short * (1 + 0.5 * float(rng.random()) ** 2)), max(320, short))
    width, height = (long, short) if rng.random() < 0.6 else (short, long)
    return Scene(
        things=things,
        place=place,
        relation=relation,
        background=pick(rng, backgrounds_for(*(thing.kind.colour for thing in things))),
        width=width,
        height=height,
        noise=int(rng.integers(2**31)),
    )


@cache
def backgrounds_for(*colours: str) -> tuple[str, ...]:
    """The backgrounds that objects of all these colours stand out from."""
    far = [
        {name for name, base in BACKGROUNDS.items() if math.dist(COLOURS[colour], base) >= CONTRAST}
        for colour in colours
    ]
    return tuple(name for name in BACKGROUNDS if all(name in names for names in far))
