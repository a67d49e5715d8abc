"""True captions in many wordings, and the captions that the web has instead.

Every mention of an object has one word of its colour and one of its shape, and objects are the only things with these
words, so that a caption can be read back.
"""

import numpy as np

from vlp_core.miniature.scenes import INVERSE, Scene, Thing, pick

# The plain word first and most often; the others are its synonyms.
SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "heart": ("heart",),
    "diamond": ("diamond", "rhombus"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "blue": ("blue", "cobalt"),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "black": ("black",),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
TEXTURE_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "checked"),
}
WITH_TEXTURE = {"striped": "with stripes", "dotted": "with dots", "checkered": "with a checked pattern"}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "upper left": ("in the upper left corner", "at the top left"),
    "top": ("at the top", "near the top edge"),
    "upper right": ("in the upper right corner", "at the top right"),
    "left": ("on the left", "on the left side"),
    "centre": ("in the middle", "in the centre"),
    "right": ("on the right", "on the right side"),
    "lower left": ("in the lower left corner", "at the bottom left"),
    "bottom": ("at the bottom", "near the bottom edge"),
    "lower right": ("in the lower right corner", "at the bottom right"),
}
RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "higher up than"),
    "below": ("below", "underneath"),
}
BACKGROUND_WORDS = ("on a {} background", "against a {} background", "in front of a {} wall")

# {a}: the object. What follows it (place, background) is put in at {…}. Two words more than the object alone: language
# identification has no say on "a red star".
ONE = (
    "there is {a}{…}",
    "this is {a}{…}",
    "here is {a}{…}",
    "a picture of {a}{…}",
    "a photo of {a}{…}",
    "a drawing of {a}{…}",
    "an image with {a}{…}",
    "the picture shows {a}{…}",
    "this image shows {a}{…}",
    "you can see {a}{…}",
    "we can see {a}{…}",
    "{a} can be seen{…}",
    "{a} is shown{…}",
    "somebody has drawn {a}{…}",
    "a child painted {a}{…}",
    "look at {a}{…}",
    "my favourite picture has {a}{…}",
)
ONE_FRONTED = ("{…} there is {a}", "{…} you can see {a}", "{…} is {a}")
TWO = (
    "{a} {is}{r} {b}{…}",
    "{a} {is}{r} {b}{…}",
    "there is {a} {r} {b}{…}",
    "here you see {a} {r} {b}{…}",
    "a picture of {a} {r} {b}{…}",
    "a photo of {a} {r} {b}{…}",
    "the picture shows {a} {r} {b}{…}",
    "this image has {a} {r} {b}{…}",
    "somebody has drawn {a} {r} {b}{…}",
    "we can see {a} {r} {b}{…}",
)
TWO_FRONTED = ("{r} {b} there is {a}{…}", "{r} {b} you can see {a}{…}")
TWO_LOOSE = (
    "{a} and {b}{…}",
    "there are two shapes, {a} and {b}{…}",
    "a picture of {a} and {b}{…}",
    "{a} next to {b}{…}",
    "this image shows both {a} and {b}{…}",
    "{a} together with {b}{…}",
)
# For zero-shot classification; {} is a class such as "red circle".
PROMPTS = (
    "a photo of a {}",
    "A picture of a {}.",
    "There is a {} in the middle.",
    "a {} on a white background",
    "a small {}",
    "a large {}",
    "This image shows a {} on the left.",
)


def caption(scene: Scene, rng: np.random.Generator, *, detailed: bool = False) -> str:
    """A true sentence about the scene; `detailed` names size, texture, and place or relation, too."""
    text = _one(scene, rng, detailed) if len(scene.things) == 1 else _two(scene, rng, detailed)
    text = " ".join(text.split())
    if rng.random() < 0.7:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.55 else text


def _one(scene: Scene, rng: np.random.Generator, detailed: bool) -> str:
    assert scene.place is not None
    parts = [pick(rng, PLACE_WORDS[scene.place])] if detailed or rng.random() < 0.3 else []
    thing = _mention(scene.things[0], rng, detailed)
    if parts and rng.random() < 0.25:
        return pick(rng, ONE_FRONTED).format_map({"…": parts[0], "a": thing})
    if rng.random() < 0.15:
        parts.append(_background(scene, rng))
    frame = "{a}{…}" if parts and rng.random() < 0.15 else pick(rng, ONE)
    return frame.format_map({"…": "".join(f" {part}" for part in parts), "a": thing})


def _two(scene: Scene, rng: np.random.Generator, detailed: bool) -> str:
    first, second = scene.things
    relation = str(scene.relation)
    if rng.random() < 0.5:
        first, second, relation = second, first, INVERSE[relation]
    detail = 0.75 if detailed else 0.3  # the second mention adds as much again: keep the sentence short
    words = {
        "a": _mention(first, rng, bool(rng.random() < detail)),
        "b": _mention(second, rng, bool(rng.random() < detail)),
        "r": pick(rng, RELATION_WORDS[relation]),
        "is": "is " if rng.random() < 0.5 else "",
        "…": f" {_background(scene, rng)}" if rng.random() < 0.2 else "",
    }
    if not detailed and rng.random() < 0.25:
        return pick(rng, TWO_LOOSE).format_map(words)
    return pick(rng, TWO_FRONTED if rng.random() < 0.2 and "than" not in words["r"] else TWO).format_map(words)


def _background(scene: Scene, rng: np.random.Generator) -> str:
    return pick(rng, BACKGROUND_WORDS).format(scene.background)


def _mention(thing: Thing, rng: np.random.Generator, detailed: bool) -> str:
    """The object with its article; what is not asked for in detail is named now and then."""
    size = pick(rng, SIZE_WORDS[thing.size]) if detailed or rng.random() < 0.25 else ""
    colour, shape = _word(rng, COLOUR_WORDS[thing.kind.colour]), _word(rng, SHAPE_WORDS[thing.kind.shape])
    plain = thing.texture == "plain"
    texture, behind = "", ""
    if rng.random() < ((0.3 if plain else 0.95) if detailed else (0.08 if plain else 0.5)):
        texture = pick(rng, TEXTURE_WORDS[thing.texture])
        if not plain and rng.random() < 0.3:
            texture, behind = "", WITH_TEXTURE[thing.texture]
    order = [size, texture, colour, shape, behind]
    if not behind and rng.random() < 0.1:
        order = [size, texture, shape, "in", colour]
    elif rng.random() < 0.15:
        order = [size, colour, texture, shape, behind]
    return _with_article(" ".join(filter(None, order)), rng)


def _word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[0] if rng.random() < 0.8 else pick(rng, words)


def _with_article(noun: str, rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < 0.08:
        return f"one {noun}"
    if draw < 0.14:
        return f"a single {noun}"
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


# What pages have in a caption's place

BOILERPLATE = (
    "Click here to enlarge the picture",
    "This image may be subject to copyright",
    "Please enable JavaScript to view this image",
    "Share this picture with your friends",
)


def filename(rng: np.random.Generator) -> str:
    number = int(rng.integers(10, 10_000))
    names = (f"IMG_{number:04d}.jpg", f"DSC{number:05d}.JPG", f"photo-{number}.png", f"image_{number}_final.jpeg")
    return pick(rng, names)


# Shapes with their article; colours as (masculine, feminine)
_FRENCH_SHAPES = {
    "circle": "un cercle",
    "square": "un carré",
    "triangle": "un triangle",
    "star": "une étoile",
    "cross": "une croix",
    "ring": "un anneau",
    "heart": "un cœur",
    "diamond": "un losange",
}
_FRENCH_COLOURS = {
    "red": ("rouge", "rouge"),
    "orange": ("orange", "orange"),
    "yellow": ("jaune", "jaune"),
    "green": ("vert", "verte"),
    "blue": ("bleu", "bleue"),
    "purple": ("violet", "violette"),
    "pink": ("rose", "rose"),
    "black": ("noir", "noire"),
}
_SPANISH_SHAPES = {
    "circle": "un círculo",
    "square": "un cuadrado",
    "triangle": "un triángulo",
    "star": "una estrella",
    "cross": "una cruz",
    "ring": "un anillo",
    "heart": "un corazón",
    "diamond": "un rombo",
}
_SPANISH_COLOURS = {
    "red": ("rojo", "roja"),
    "orange": ("naranja", "naranja"),
    "yellow": ("amarillo", "amarilla"),
    "green": ("verde", "verde"),
    "blue": ("azul", "azul"),
    "purple": ("morado", "morada"),
    "pink": ("rosa", "rosa"),
    "black": ("negro", "negra"),
}
_GERMAN_SHAPES = {
    "circle": ("ein", "Kreis"),
    "square": ("ein", "Quadrat"),
    "triangle": ("ein", "Dreieck"),
    "star": ("ein", "Stern"),
    "cross": ("ein", "Kreuz"),
    "ring": ("ein", "Ring"),
    "heart": ("ein", "Herz"),
    "diamond": ("eine", "Raute"),
}
_GERMAN_MASCULINE = {"Kreis", "Stern", "Ring"}
_GERMAN_COLOURS = {
    "red": "rot",
    "orange": "orangefarben",
    "yellow": "gelb",
    "green": "grün",
    "blue": "blau",
    "purple": "violett",
    "pink": "rosafarben",
    "black": "schwarz",
}


def foreign(scene: Scene, rng: np.random.Generator) -> str:
    """A true sentence in French, German or Spanish."""
    say, frames = pick(
        rng,
        (
            (_french, ("Sur cette image on peut voir {}.", "Voici le dessin que nous avons fait : {}.")),
            (_german, ("Auf diesem Bild ist {} zu sehen.", "Hier sieht man, was wir gemalt haben: {}.")),
            (_spanish, ("En esta imagen se puede ver {}.", "Este es el dibujo que hicimos ayer: {}.")),
        ),
    )
    joint = {_french: " et ", _german: " und ", _spanish: " y "}[say]
    return pick(rng, frames).format(joint.join(say(thing) for thing in scene.things))


def _french(thing: Thing) -> str:
    noun = _FRENCH_SHAPES[thing.kind.shape]
    return f"{noun} {_FRENCH_COLOURS[thing.kind.colour][noun.startswith('une')]}"


def _spanish(thing: Thing) -> str:
    noun = _SPANISH_SHAPES[thing.kind.shape]
    return f"{noun} {_SPANISH_COLOURS[thing.kind.colour][noun.startswith('una')]}"


def _german(thing: Thing) -> str:
    article, noun = _GERMAN_SHAPES[thing.kind.shape]
    ending = "e" if article == "eine" else "er" if noun in _GERMAN_MASCULINE else "es"
    return f"{article} {_GERMAN_COLOURS[thing.kind.colour]}{ending} {noun}"
