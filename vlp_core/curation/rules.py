"""What a rule is: `quantity comparison value`, or the name of a set of such rules."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.quantities import ANY_CODE, NUMBER, QUANTITIES, of_captions
from vlp_core.curation.rule_sets import RULE_SETS
from vlp_core.errors import UserError, nearest

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}

_EXPRESSION = re.compile(r"^\s*([A-Za-z_]+)\s*(>=|<=|!=|==|=|>|<)\s*(.+?)\s*$")
_CODE = re.compile(r"^[a-z]{2,3}$")
_TOP = re.compile(r"^top(\d+(?:\.\d+)?)%$")


@dataclass(frozen=True)
class Rule:
    """Keeps what stands in this relation to a value.

    `top30%` is the value that the highest 30 % of all fetched reach: a number once it is `placed`.
    """

    quantity: str
    comparison: str
    value: float | str

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else f"{self.value:.15g}"
        return f"{self.quantity}{self.comparison}{value}"

    @property
    def of_captions(self) -> bool:
        return of_captions(self.quantity)

    @property
    def top(self) -> float | None:
        """The share of all that pass, 0 to 1; None where the value does not depend on the others."""
        found = _TOP.match(self.value) if isinstance(self.value, str) else None
        return float(found[1]) / 100 if found else None

    def placed(self, values: NDArray[np.floating]) -> "Rule":
        """The rule with the number that its share of all these values reaches; as it is, where it says a value."""
        if self.top is None:
            return self
        known = values[~np.isnan(values)]
        if not len(known):
            return replace(self, value=0.0)
        rank = min(len(known) - 1, max(0, len(known) - round(self.top * len(known))))
        return replace(self, value=float(np.partition(known, rank)[rank]))

    def passes(self, values: Any) -> Any:
        """Which of an array of this quantity's values pass; what is not known (nan, None) does not."""
        passes = COMPARISONS[self.comparison](values, self.value)
        if self.comparison != "!=":  # nothing else holds of what is not known
            return passes
        return passes & (values != np.array(None) if values.dtype.kind == "O" else values == values)


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
        known = QUANTITIES[name]
        raise UserError(
            f"rule {text!r}: says nothing about {name} ({known.about}); write it such as '{name}{known.example}'"
        )
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
    if (words := QUANTITIES[quantity].words) is not NUMBER:
        return Rule(quantity, comparison, _word(expression, quantity, comparison, value, words))
    if value.startswith("top"):
        return Rule(quantity, comparison, _share(expression, quantity, comparison, value))
    try:
        number = float(value.replace("_", ""))
    except ValueError:
        number = float("nan")
    if number != number:
        such = f"{quantity}{QUANTITIES[quantity].example}"
        raise UserError(f"rule {expression!r}: {value!r} is not a number; write it such as '{such}'")
    return Rule(quantity, comparison, number)


def _share(expression: str, quantity: str, comparison: str, value: str) -> str:
    found = _TOP.match(value)
    if comparison != ">=" or found is None or not 0 < float(found[1]) <= 100:
        raise UserError(f"rule {expression!r}: the highest of all are asked for such as '{quantity}>=top30%'")
    return value


def _word(expression: str, quantity: str, comparison: str, value: str, words: tuple[str, ...]) -> str:
    if comparison not in ("=", "!="):
        raise UserError(f"rule {expression!r}: {quantity} is equal or not; use = or !=")
    if words and value not in words:
        raise UserError(f"rule {expression!r}: {quantity} is {' or '.join(words)}")
    if words == ANY_CODE and not _CODE.match(value):
        raise UserError(f"rule {expression!r}: {value!r} is no language's code; write it such as 'language=en'")
    return value
