"""Arms: selections that are compared with one another, each by the rules that make it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlp_core.curation.rules import parse_rules
from vlp_core.curation.settings import EVERY_PAIR
from vlp_core.errors import UserError

ALL = "all"
"""An arm without rules: whatever was fetched, less copies and what evaluation sets have."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SIGNS = ((">=", "-ge-"), ("<=", "-le-"), ("!=", "-ne-"), (">", "-gt-"), ("<", "-lt-"), ("=", "-is-"), ("%", "pct"))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A name, fit for folders, and rules or sets of rules; without any it takes all."""

    name: str
    rules: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.rules) or ALL

    @property
    def asks(self) -> frozenset[str]:
        """What it asks, however that is written: sets as their rules, in no order."""
        return frozenset(map(str, parse_rules((EVERY_PAIR, *self.rules))))


def parse_arms(texts: Sequence[str]) -> tuple[Arm, ...]:
    """Arms of texts such as `datacomp_basic`, `words>2,clip>=top30%`, `strict:words>2,clip>=.3` (named) or `all`.

    UserError where a rule is unknown, an arm says nothing or contradicts itself, or two have one name.
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


def first_alike(arms: Sequence[Arm]) -> dict[str, Arm]:
    """By the name of each arm: the first that asks the same, itself where none does before it."""
    first: dict[frozenset[str], Arm] = {}
    return {arm.name: first.setdefault(arm.asks, arm) for arm in arms}


def _parsed(text: str) -> Arm:
    name, named, said = (part.strip() for part in text.rpartition(":"))  # no rule has a colon
    if named and not _NAME.fullmatch(name):
        raise UserError(
            f"--rules {text!r}: {name!r} names no arm; the name of an arm has letters, digits, . _ - "
            "and begins with a letter or a digit"
        )
    rules = tuple(part.strip() for part in said.split(",") if part.strip())
    if not rules:
        raise UserError(f"--rules {text!r}: an arm without rules; write {ALL} for one that takes all")
    if ALL in rules and len(rules) > 1:
        raise UserError(f"--rules {text!r}: {ALL} asks nothing; leave it out, or what stands beside it")
    rules = tuple(rule for rule in rules if rule != ALL)
    parse_rules(rules)
    return Arm(name=name if named else _name(rules), rules=rules)


def _name(rules: Sequence[str]) -> str:
    name = "_".join(rules) or ALL
    for sign, words in _SIGNS:
        name = name.replace(sign, words)
    return re.sub(r"[^\w.-]", "", name)
