"""The published rule sets: of each rule a picture that just passes, and one that fails it and nothing else."""

import numpy as np
import pyarrow as pa
import pytest

from vlp_core.curation.captions import caption_counts
from vlp_core.curation.quantities import FORMATS, JUDGES, judge_of
from vlp_core.curation.rule_sets import RULE_SETS
from vlp_core.curation.rules import Rule, parse_rules
from vlp_core.curation.shard import Shard
from vlp_core.curation.verdicts import judged
from vlp_core.web.sniff import KINDS

GERMAN = "ein brauner Hund läuft über die grüne Wiese"
GOOD = {
    "width": 640,
    "height": 480,
    "bytes": 90_000,
    "format": "jpeg",
    "caption": "a brown dog runs over the green grass",
    "clip": 0.35,
    "unsafe": 0.1,
}
SHARED = {"a dog on the sofa": 10, "a cat on the sofa": 11}  # pictures that have the caption


def words(count: int) -> str:
    """So many words, all short and different, with a noun and a determiner among them."""
    letters = "bcdfghjklmnpqrstvwxz"
    return " ".join(["the", "dog", *(f"{letters[i // 20]}{letters[i % 20]}" for i in range(count - 2))])


def side(pixels: int) -> dict:
    return {"width": pixels + 50, "height": pixels}


def caption(text: str) -> dict:
    return {"caption": text}


CONCEPTUAL_TEXT = {
    "words>=3": (caption("a brown dog"), caption("a dog")),
    "words<=256": (caption(words(256)), caption(words(257))),
    "nouns>=1": (caption("the dog is very"), caption("they are very beautiful and the")),
    "determiners>=1": (caption("dogs run over the grass"), caption("dogs run over green grass")),
    "repetition<=0.2": (caption("a dog and a cat"), caption("a dog, a dog")),
}
GOLDEN = {
    "datacomp_basic": {
        "side>=200": (side(200), side(199)),
        "ratio<=3": ({"width": 900, "height": 300}, {"width": 901, "height": 300}),
        "words>2": (caption("a brown dog"), caption("brown dogs")),
        "chars>5": (caption("a b cd"), caption("a b c")),
        "language=en": ({}, caption(GERMAN)),
    },
    "laion400m": {
        "chars>=5": (caption("a dog"), caption("dogs")),
        "bytes>=5000": ({"bytes": 5000}, {"bytes": 4999}),
        "clip>=0.3": ({"clip": 0.3}, {"clip": 0.299}),
        "unsafe<=0.5": ({"unsafe": 0.5}, {"unsafe": 0.51}),
    },
    "laion5b": {
        "chars>=5": (caption("a dog"), caption("dogs")),
        "bytes>=5000": ({"bytes": 5000}, {"bytes": 4999}),
        "language=en": ({"unsafe": 0.9}, caption(GERMAN)),
        "clip>=0.28": ({"clip": 0.28}, {"clip": 0.279}),
    },
    "laion5b_multilingual": {
        "chars>=5": (caption("Größe"), caption("grün")),
        "bytes>=5000": ({"bytes": 5000}, {"bytes": 4999}),
        "language!=en": ({}, caption("a brown dog runs over the green grass")),
        "clip>=0.26": ({"clip": 0.26}, {"clip": 0.259}),
    },
    "coyo": {
        "bytes>=5000": ({"bytes": 5000}, {"bytes": 4999}),
        "ratio<=3": ({"width": 900, "height": 300}, {"width": 901, "height": 300}),
        "side>=200": (side(200), side(199)),
        "words>=3": (caption("a brown dog"), caption("a dog")),
        "words<=256": (caption(words(256)), caption(words(257))),
        "chars>=5": (caption("a b dog"), caption("dog")),
        "chars<=1000": (caption("a red dog ".ljust(1000, "x")), caption("a red dog ".ljust(1001, "x"))),
        "nouns>=1": (caption("dogs are very"), caption("they are very beautiful")),
        "shared<=10": (caption("a dog on the sofa"), caption("a cat on the sofa")),
    },
    "cc12m": {
        "format=jpeg": ({}, {"format": "png"}),
        "side>400": (side(401), side(400)),
        "ratio<=2.5": ({"width": 1200, "height": 480}, {"width": 1201, "height": 480}),
        **CONCEPTUAL_TEXT,
    },
    "cc3m": {
        "format=jpeg": ({}, {"format": "webp"}),
        "side>400": (side(401), side(400)),
        "ratio<=2": ({"width": 960, "height": 480}, {"width": 961, "height": 480}),
        **CONCEPTUAL_TEXT,
    },
    "align": {
        "side>200": (side(201), side(200)),
        "ratio<3": ({"width": 899, "height": 300}, {"width": 900, "height": 300}),
        "words>=3": (caption("a brown dog"), caption("a dog")),
        "words<=20": (caption(words(20)), caption(words(21))),
        "shared<=10": (caption("a dog on the sofa"), caption("a cat on the sofa")),
    },
}


def taken_by(rules: tuple[Rule, ...], **spoilt: object) -> str | None:
    """The rule that a picture falls to, by what the judges find of it."""
    row = GOOD | spoilt
    rows = pa.table(
        {
            "original_width": pa.array([row["width"]], pa.int32()),
            "original_height": pa.array([row["height"]], pa.int32()),
            "bytes": [row["bytes"]],
            "format": [row["format"]],
            "captions": [[row["caption"]]],
        }
    )
    shared = caption_counts(pa.array([[text] for text, count in SHARED.items() for _ in range(count)]))
    shard = Shard(rows=rows, shared=shared)
    columns = {}
    for rule in rules:
        measure = JUDGES[judge_of(rule.quantity)].measure
        found = (
            measure(shard) if measure else {name: pa.array([row[name]], pa.float32()) for name in ("clip", "unsafe")}
        )
        columns[rule.quantity] = found[rule.quantity].to_numpy(zero_copy_only=False)
    fell = int(judged(rules, shard.captions, columns).rule[0])
    return None if fell < 0 else str(rules[fell])


@pytest.mark.parametrize("name", RULE_SETS)
def test_a_published_set_takes_what_each_of_its_rules_is_for_and_nothing_else(name: str) -> None:
    rules = parse_rules([name])
    assert list(GOLDEN[name]) == [str(rule) for rule in rules]
    for rule in rules:
        passes, fails = ({**base_of(name), **case} for case in GOLDEN[name][str(rule)])
        assert taken_by(rules, **passes) is None, rule
        others = tuple(other for other in rules if other != rule and not shares(name, str(rule), str(other)))
        assert taken_by((*others, rule), **fails) == str(rule)


def base_of(name: str) -> dict:
    return caption(GERMAN) if name == "laion5b_multilingual" else {}


def shares(name: str, rule: str, other: str) -> bool:
    """Of fewer than five letters there are no three words: what fails the one fails the other."""
    return (name, rule, other) == ("coyo", "chars>=5", "words>=3")


def test_every_format_that_is_taken_can_be_asked_for() -> None:
    assert set(FORMATS) == set(KINDS)


def test_a_share_of_all_is_the_value_that_so_many_reach_of_those_that_are_known() -> None:
    rule = parse_rules(["clip>=top30%"])[0]
    values = np.array([0.1, 0.9, np.nan, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6, 0.0], np.float32)
    placed = rule.placed(values)
    assert placed.passes(values).tolist() == [value >= np.float32(0.7) for value in values.tolist()]
    assert str(rule) == "clip>=top30%" and not rule.placed(values[:0]).passes(values[2:3]).any()
