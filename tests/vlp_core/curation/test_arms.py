"""Arms: which rules they have, what they are called, and what is refused."""

import pytest

from vlp_core.curation.arms import Arm, first_alike, parse_arms
from vlp_core.curation.rule_sets import RULE_SETS
from vlp_core.errors import UserError


@pytest.mark.parametrize(
    ("text", "name", "rules"),
    [
        ("datacomp_basic", "datacomp_basic", ("datacomp_basic",)),
        ("all", "all", ()),
        ("words>2, clip>=top30%", "words-gt-2_clip-ge-top30pct", ("words>2", "clip>=top30%")),
        ("strict:datacomp_basic,shared<=10", "strict", ("datacomp_basic", "shared<=10")),
        ("every:all", "every", ()),
        ("language=en", "language-is-en", ("language=en",)),
    ],
)
def test_an_arm_has_rules_and_a_name_fit_for_folders(text: str, name: str, rules: tuple[str, ...]) -> None:
    assert parse_arms([text]) == (Arm(name=name, rules=rules),)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["datacomp_basik"], "rule 'datacomp_basik' is not known; did you mean 'datacomp_basic'"),
        (["x:"], "--rules 'x:': an arm without rules; write all"),
        (["a:words>2", "a:words>3"], r"--rules a:words>3: another arm is named 'a' \(words>2\); name one of them"),
        ([], "--rules: name an arm or more"),
        (["a b:words>2"], "'a b' names no arm; the name of an arm has letters, digits, . _ - and begins with a letter"),
        (["../x:all"], "'../x' names no arm; the name of an arm has letters"),
        ([":words>2"], "'' names no arm"),
        (["all,words>2"], "--rules 'all,words>2': all asks nothing; leave it out, or what stands beside it"),
    ],
)
def test_what_is_no_arm_is_one_line(texts: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_arms(texts)


def test_arms_that_ask_the_same_are_told_however_they_are_written() -> None:
    texts = (
        "datacomp_basic",
        "short:words>2",
        f"long:chars>5.0,{','.join(reversed(RULE_SETS['datacomp_basic']))}",
        "all",
        "some:captions>=1,words>2",
    )
    first = first_alike(parse_arms(texts))
    assert {name: arm.name for name, arm in first.items() if name != arm.name} == {
        "long": "datacomp_basic",
        "some": "short",
    }
