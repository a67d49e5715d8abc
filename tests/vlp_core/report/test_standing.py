"""What-if counts are what judging anew would give."""

from dataclasses import replace

import numpy as np
import pytest

from tests.vlp_core.report.samples import sample_with
from vlp_core.curation.rules import Rule, parse_rules
from vlp_core.curation.verdicts import judged
from vlp_core.data.layout import CAPTIONS
from vlp_core.report.examples import examples_of
from vlp_core.report.sample import Sample
from vlp_core.report.standing import Standing

RULES = parse_rules(("side>=150", "words>2", "words<=9", "chars>5", "language=en", "ratio<2.5"))


@pytest.fixture(scope="module")
def sample() -> Sample:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, 400).tolist()
    texts = sum(counts)
    values = {
        "side": rng.integers(50, 400, 400).astype(float),
        "ratio": np.where(rng.random(400) < 0.05, np.nan, 1 + rng.exponential(0.6, 400)),
        "words": rng.integers(0, 14, texts),
        "chars": rng.integers(0, 60, texts),
        "language": np.array(rng.choice(["en", "fr", None], texts, p=[0.8, 0.1, 0.1]), object),
        "bytes": rng.integers(100, 9000, 400),
    }
    return sample_with(counts, values, RULES)


def passing(sample: Sample, rules: tuple[Rule, ...]) -> int:
    return int((judged(rules, sample.captions.cast(CAPTIONS), sample.values).rule < 0).sum())


@pytest.mark.parametrize("number", range(len(RULES)), ids=[str(rule) for rule in RULES])
def test_other_values_keep_as_many_as_judging_anew(sample: Sample, number: int) -> None:
    standing = Standing(sample, RULES)
    found = standing.what_if(number)
    others = RULES[:number] + RULES[number + 1 :]
    assert found.everyone == passing(sample, others)
    values: list[float | str] = ["en", "fr"] if found.words else [*found.round_values(), -1.0, 1e9]
    for value in values:
        kept = dict(found.words)[value] if found.words else found.kept(value)
        assert kept == passing(sample, (*others, replace(RULES[number], value=value))), value
    assert standing.only(number) == passing(sample, others) - passing(sample, RULES)
    assert standing.alone(number) == len(sample) - passing(sample, (RULES[number],))


def test_a_rule_that_is_not_asked_can_be_added(sample: Sample) -> None:
    found = Standing(sample, RULES).added("bytes")
    assert (found.comparison, found.now, found.everyone) == (">=", None, passing(sample, RULES))
    assert found.kept(5000.0) == passing(sample, (*RULES, *parse_rules(["bytes>=5000"])))


def test_a_rule_over_what_is_known_in_other_shards_alone_takes_all_of_these(sample: Sample) -> None:
    without = {name: values for name, values in sample.values.items() if name not in ("side", "language")}
    part = replace(sample, values=without)
    standing = Standing(part, RULES)
    assert standing.passing == 0
    for number in (0, 4):
        assert standing.alone(number) == len(sample) and len(standing.what_if(number).best) == 0
        took = examples_of(part, RULES[number], RULES[number], 4).took
        assert {value for one in took for value in one.values} == {"not known"}


def test_examples_are_of_what_fell_and_of_what_lies_next_to_the_threshold(sample: Sample) -> None:
    rule = RULES[0]
    found = examples_of(sample, rule, rule, 4)
    sides = dict(zip(sample.uids.to_pylist(), sample.values["side"], strict=True))
    fell = {
        uid for uid, name in zip(sample.uids.to_pylist(), sample.rule.to_pylist(), strict=True) if name == str(rule)
    }
    assert {one.uid for one in found.took} <= fell and len(found.took) == 4
    assert {one.uid for one in found.barely} == set(sorted(fell, key=lambda uid: -sides[uid])[:4])
    passed = {uid for uid, name in zip(sample.uids.to_pylist(), sample.rule.to_pylist(), strict=True) if name is None}
    assert {one.uid for one in found.nearly} == set(sorted(passed, key=lambda uid: sides[uid])[:4])
    assert all(one.values == (f"{sides[one.uid]:.4g}",) for one in found.took)
