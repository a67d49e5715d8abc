"""Rules: what each lets pass, and how they are read."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from vlp_core.curation.captions import caption_counts
from vlp_core.curation.language import detector_named
from vlp_core.curation.quantities import JUDGES, QUANTITIES, judge_of
from vlp_core.curation.rule_sets import RULE_SETS
from vlp_core.curation.rules import Rule, parse_rules
from vlp_core.curation.shard import Shard
from vlp_core.curation.verdicts import NO_CAPTION, Verdicts, judged
from vlp_core.errors import UserError

CAPTION = "a dog runs over the green grass"


def judge(
    rules: Sequence[str], *, width: int = 256, height: int = 256, size: int = 9000, captions: Sequence[str] = (CAPTION,)
) -> str | None:
    """The rule that takes one picture; None where it passes."""
    counts = {"everywhere": 11, "often": 10}
    shared = caption_counts(pa.array([[text] for text, count in counts.items() for _ in range(count)]))
    parsed = parse_rules(rules)
    found = verdicts_of(parsed, Shard(rows=table([(width, height, size, list(captions))]), shared=shared))
    fell = int(found.rule[0])
    assert found.captions.to_pylist()[0] == (list(captions) if fell < 0 else [])
    return None if fell < 0 else str(parsed[fell])


def verdicts_of(rules: Sequence[Rule], shard: Shard) -> Verdicts:
    """By what the judges find that the rules ask."""
    columns = {}
    for rule in rules:
        measure = JUDGES[judge_of(rule.quantity)].measure
        assert measure is not None
        columns[rule.quantity] = measure(shard)[rule.quantity].to_numpy(zero_copy_only=False)
    return judged(rules, shard.captions, columns)


def table(rows: list[tuple[int, int, int, list[str]]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    schema = pa.schema(
        [
            ("original_width", pa.int32()),
            ("original_height", pa.int32()),
            ("bytes", pa.int64()),
            ("captions", pa.list_(pa.string())),
        ]
    )
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


@pytest.mark.parametrize(
    ("rule", "passes", "fails"),
    [
        ("side>=200", {"width": 200, "height": 900}, {"width": 900, "height": 199}),
        ("side>200", {"width": 201}, {"width": 200}),
        ("ratio<=3", {"width": 300, "height": 900}, {"width": 901, "height": 300}),
        ("ratio<3", {"width": 300, "height": 899}, {"width": 300, "height": 900}),
        ("bytes>=5000", {"size": 5000}, {"size": 4999}),
        ("captions<=1", {"captions": ["one"]}, {"captions": ["one", "two"]}),
        ("chars>5", {"captions": ["ångstr"]}, {"captions": ["ångst"]}),
        ("chars<=1_000", {"captions": ["x" * 1000]}, {"captions": ["x" * 1001]}),
        ("words>2", {"captions": ["a  red\tdog"]}, {"captions": [" red   dog "]}),
        ("words>2", {"captions": ["a\u00a0red\u3000dog"]}, {"captions": ["\u00a0red dog\u3000"]}),
        ("repetition<0.5", {"captions": ["Red\u00a0red dog"]}, {"captions": ["red RED"]}),
        ("words!=2", {"captions": ["one"]}, {"captions": ["two words"]}),
        ("shared<=10", {"captions": ["often"]}, {"captions": ["everywhere"]}),
        ("shared<2", {"captions": ["nowhere else"]}, {"captions": ["often"]}),
        ("language=en", {"captions": [CAPTION]}, {"captions": ["ein Hund läuft über die grüne Wiese"]}),
        ("language!=en", {"captions": ["un chien court dans l'herbe verte"]}, {"captions": [CAPTION]}),
        ("language == de", {"captions": ["ein Hund läuft\nüber die Wiese"]}, {"captions": [CAPTION]}),
        *[
            ("filename=no", {"captions": [good]}, {"captions": [bad]})
            for good, bad in [
                ("a photo of 3 dogs", "IMG_20190401_1234.JPG"),
                ("see example.com for more", "https://example.com/dogs"),
                ("see www.example.com for more", "www.example.com/dogs"),
                ("version 2.0 of the jpg format", "/images/a/photo-12.jpeg?w=300"),
                ("dog", "DSC00123"),
                ("1 dog", "my holiday in rome.png"),
                ("Image of a dog", "image 12"),
                ("added facade", "3f2a9c0be1d24c77"),
                ("in the year 1984", "1984-02"),
            ]
        ],
        ("filename=yes", {"captions": ["IMG_1.jpg"]}, {"captions": ["a dog"]}),
        *[("nouns>=1", {"captions": [noun]}, {"captions": ["very good"]}) for noun in ("dogs", "in Paris", "x" * 40)],
        ("nouns<1", {"captions": ["x" * 41]}, {"captions": ["x" * 40]}),  # which would take the tagger long
        *[("determiners>=1", {"captions": [f"{word} dog"]}, {"captions": ["dog"]}) for word in ("an", "this", "my")],
    ],
)
def test_a_rule_passes_and_fails(rule: str, passes: dict, fails: dict) -> None:
    """Also among other rules that all pass: it is this one that takes what fails."""
    rules = ["captions<=9", rule, "ratio<=99"]
    assert judge(rules, **passes) is None
    assert judge(rules, **fails) == str(parse_rules([rule])[0])


@pytest.mark.parametrize(
    ("spoilt", "rule"),
    [
        ({}, None),
        ({"width": 199}, "side>=200"),
        ({"width": 1000}, "ratio<=3"),
        ({"captions": ["two words"]}, "words>2"),
        ({"captions": ["a b c"]}, "chars>5"),
        ({"captions": ["ein Hund läuft über die grüne Wiese"]}, "language=en"),
    ],
)
def test_datacomp_basic_asks_for_size_ratio_words_characters_and_english(spoilt: dict, rule: str | None) -> None:
    assert judge(["datacomp_basic"], **spoilt) == rule


def verdicts(rules: Sequence[str], rows: list[tuple[int, int, int, list[str]]]) -> Verdicts:
    empty = np.empty(0, np.uint64), np.empty(0, np.int64)
    return verdicts_of((NO_CAPTION, *parse_rules(rules)), Shard(rows=table(rows), shared=empty))


def test_captions_are_judged_one_by_one_and_a_picture_falls_with_its_last() -> None:
    rows = [
        (300, 300, 1, ["a dog", "IMG_1.jpg", "a red dog"]),
        (300, 300, 1, ["dog", "IMG_1.jpg"]),
        (100, 300, 1, ["a very good dog"]),
        (300, 300, 1, []),
    ]
    found = verdicts(["words>=2", "filename=no", "side>=200"], rows)
    assert found.captions.to_pylist() == [["a dog", "a red dog"], [], [], []]
    assert found.rule.tolist() == [-1, 1, 3, 0]
    assert found.captions_lost == [0, 3, 0, 1]


def test_a_picture_whose_last_caption_falls_to_the_second_rule_is_lost_to_that() -> None:
    found = verdicts(["words>=2", "chars>6"], [(300, 300, 1, ["dogs", "a dog"])])
    assert found.rule.tolist() == [2]
    assert found.captions_lost == [0, 1, 1]


def test_a_shard_without_pictures_has_no_verdicts() -> None:
    assert len(verdicts(["datacomp_basic", "shared<=3", "filename=no"], []).rule) == 0


def test_a_size_or_format_that_is_not_known_passes_no_rule() -> None:
    rows = table([(300, 300, 1, ["a dog"])] * 2)
    rows = rows.set_column(1, "original_height", pa.array([300, None], pa.int32()))
    rows = rows.append_column("format", pa.array(["png", None]))
    for rule in ("side>=1", "side!=1", "ratio<=9", "format!=jpeg", "format=png"):
        assert verdicts_of(parse_rules([rule]), Shard(rows=rows)).rule.tolist() == [-1, 0]


def test_a_caption_is_shared_by_pictures_not_by_its_own_repeats() -> None:
    _, counts = caption_counts(pa.array([["same", "same"], ["same"], ["other"]]))
    assert sorted(counts.tolist()) == [1, 2]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("datacomp_basik", "datacomp_basic"),
        ("sides>=200", "side"),
        ("ratoi<=3", "ratio"),
        ("words", "words>2"),
        ("words>many", "not a number"),
        ("words>nan", "not a number"),
        ("language>en", "= or !="),
        ("language=english!", "language=en"),
        ("filename=maybe", "yes or no"),
        ("", "side>=200"),
    ],
)
def test_an_unknown_rule_is_refused_with_the_way_out(text: str, hint: str) -> None:
    with pytest.raises(UserError, match="rule") as refused:
        parse_rules([text])
    assert hint in str(refused.value) and "\n" not in str(refused.value)


def test_sets_and_rules_mix_in_order_each_once() -> None:
    rules = [str(rule) for rule in parse_rules(["bytes>=5000", "datacomp_basic", "side >= 200.0", "shared<=10"])]
    assert rules == ["bytes>=5000", *RULE_SETS["datacomp_basic"], "shared<=10"]


def test_every_set_is_made_of_known_quantities() -> None:
    for name in RULE_SETS:
        assert all(rule.quantity in QUANTITIES for rule in parse_rules([name]))


def test_another_language_detector_can_be_named() -> None:
    assert detector_named("tests.vlp_core.curation.test_rules:klingon")(["nuqneH"]) == ["tlh"]


def klingon(texts: Sequence[str]) -> list[str]:
    return ["tlh" for _ in texts]


@pytest.mark.parametrize(
    "name",
    [
        "fasttext",
        "no.such.module:detect",
        "vlp_core.curation.language:detekt",
        "vlp_core.curation.language:__name__",
        ":",
        ".x:y",
        "json:x:y",
    ],
)
def test_an_unknown_language_detector_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="module:function"):
        detector_named(name)
