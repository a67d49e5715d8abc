"""Arms: selections that are compared with one another, each by the rules that make it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlp_core.curation.rules import parse_rules
from vlp_core.errors import UserError

ALL = "all"
"""An arm without rules: whatever was fetched, less copies and what evaluation sets have."""

_NAMED = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*:(.*)$", re.DOTALL)
_SIGNS = ((">=", "-ge-"), ("<=", "-le-"), ("!=", "-ne-"), (">", "-gt-"), ("<", "-lt-"), ("=", "-is-"), ("%", "pct"))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A name, fit for folders, and rules or sets of rules; without any it takes all."""

    name: str
    rules: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.rules) or ALL


def parse_arms(texts: Sequence[str]) -> tuple[Arm, ...]:
    """Arms of texts such as `datacomp_basic`, `words>2,clip>=top30%`, `strict:words>2,clip>=.3` (named) or `all`.

    UserError where a rule is unknown, an arm says nothing, or two have one name.
    """
    if not texts:
        raise UserError("--rules: name an arm or more, such as all datacomp_basic 'datacomp_basic,clip>=top30%'")
    arms: dict[str, Arm] = {}
    for text in texts:
        arm = _parsed(text)
        if arm.name in arms:
            raise UserError(
                f"--rules {text}: another arm is named {arm.name!r} ({arms[arm.name]}); "
                f"name one of them, such as 'other:{arm}'"
            )
        arms[arm.name] = arm
    return tuple(arms.values())


def _parsed(text: str) -> Arm:
    named = _NAMED.match(text)
    said = named[2] if named else text
    rules = tuple(part.strip() for part in said.split(",") if part.strip())
    if not rules:
        raise UserError(f"--rules {text!r}: an arm without rules; write {ALL} for one that takes all")
    rules = tuple(rule for rule in rules if rule != ALL)
    parse_rules(rules)
    return Arm(name=named[1] if named else _name(rules), rules=rules)


def _name(rules: Sequence[str]) -> str:
    name = "_".join(rules) or ALL
    for sign, words in _SIGNS:
        name = name.replace(sign, words)
    return re.sub(r"[^\w.-]", "", name)
