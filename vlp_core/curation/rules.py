"""What a rule is: `quantity comparison value`, or the name of a set of such rules."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vlp_core.errors import UserError, nearest

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}

# Of a picture, and of each of its captions. Numbers compare in every way, words are equal or not.
PICTURE_NUMBERS = {
    "side": "smaller side of the original picture, in pixels",
    "ratio": "longer side by shorter side",
    "bytes": "size of the file as it came",
    "captions": "how many captions the picture has",
}
CAPTION_NUMBERS = {
    "chars": "characters of the caption",
    "words": "words of the caption, parted by white space",
    "shared": "how many pictures have this caption",
}
CAPTION_WORDS = {
    "language": "code of the caption's language, such as en",
    "filename": "yes if the caption is a file name or a url, else no",
}
QUANTITIES = {**PICTURE_NUMBERS, **CAPTION_NUMBERS, **CAPTION_WORDS}

RULE_SETS: dict[str, tuple[str, ...]] = {
    # DataComp's basic filtering (Gadre et al., 2023, arXiv:2304.14108, section 3.2; sides as in its apply_filter.py).
    "datacomp_basic": ("side>=200", "ratio<=3", "words>2", "chars>5", "language=en"),
}

_EXPRESSION = re.compile(r"^\s*([A-Za-z_]+)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*$")
_CODE = re.compile(r"^[a-z]{2,3}$")


@dataclass(frozen=True)
class Rule:
    """Keeps what stands in this relation to a value."""

    quantity: str
    comparison: str
    value: float | str

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.15g}"
        return f"{self.quantity}{self.comparison}{value}"

    @property
    def of_captions(self) -> bool:
        return self.quantity not in PICTURE_NUMBERS

    def passes(self, values: Any) -> Any:
        """Which of an array of this quantity's values pass."""
        return COMPARISONS[self.comparison](values, self.value)


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """The rules that these texts and sets name, in order, each once; UserError where one is unknown."""
    rules: dict[Rule, None] = {}
    for text in texts:
        for expression in _expressions(text):
            rules[_parsed(expression)] = None
    return tuple(rules)


def _expressions(text: str) -> tuple[str, ...]:
    name = text.strip()
    if name in RULE_SETS:
        return RULE_SETS[name]
    if _EXPRESSION.match(name):
        return (name,)
    if name in QUANTITIES:
        example = f"{name}=en" if name == "language" else f"{name}=no" if name == "filename" else f"{name}>=1"
        raise UserError(f"rule {text!r}: says nothing about {name} ({QUANTITIES[name]}); write it such as '{example}'")
    raise UserError(
        f"rule {text!r} is not known{nearest(name, [*RULE_SETS, *QUANTITIES])}; "
        "a rule is a set's name or such as 'side>=200'"
    )


def _parsed(expression: str) -> Rule:
    match = _EXPRESSION.match(expression)
    assert match is not None, expression
    quantity, comparison, value = match.groups()
    comparison = comparison.replace("==", "=")
    if quantity not in QUANTITIES:
        raise UserError(f"rule {expression!r}: no quantity {quantity!r}{nearest(quantity, QUANTITIES)}")
    if quantity in CAPTION_WORDS:
        return Rule(quantity, comparison, _word(expression, quantity, comparison, value))
    try:
        number = float(value.replace("_", ""))
    except ValueError:
        number = float("nan")
    if number != number:
        raise UserError(f"rule {expression!r}: {value!r} is not a number; write it such as '{quantity}{comparison}3'")
    return Rule(quantity, comparison, number)


def _word(expression: str, quantity: str, comparison: str, value: str) -> str:
    if comparison not in ("=", "!="):
        raise UserError(f"rule {expression!r}: {quantity} is equal or not; use = or !=")
    if quantity == "filename" and value not in ("yes", "no"):
        raise UserError(f"rule {expression!r}: filename is yes or no")
    if quantity == "language" and not _CODE.match(value):
        raise UserError(f"rule {expression!r}: {value!r} is no language's code; write it such as 'language=en'")
    return value
