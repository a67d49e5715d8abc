"""The page: what a report says, as values, and the template that shows them. Captions and urls are hostile text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vlp_core.report.drift import Overlap, Word
from vlp_core.report.examples import Examples
from vlp_core.report.failures import NO_HOST, Host, Kind, host_of
from vlp_core.report.fates import Truth
from vlp_core.report.groups import Groups

_FOLDER = Path(__file__).parent
# Control characters, and those that turn the direction of what follows them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")


@dataclass(frozen=True)
class Tile:
    name: str
    value: str


@dataclass(frozen=True)
class Row:
    """A value that could be asked for, the pictures that would pass with it, and by how much that differs."""

    label: str
    kept: int
    change: str
    now: bool = False


@dataclass(frozen=True)
class Sweep:
    quantity: str
    about: str
    head: str
    rows: Sequence[Row]
    curve: Markup | None = None
    said: str = ""


@dataclass(frozen=True)
class RuleView:
    text: str
    about: str
    took: int
    captions: int
    alone: int
    only: int
    placed: str
    sweep: Sweep
    examples: Examples


@dataclass(frozen=True)
class BarRow:
    """A line of bars: two lengths in percent, one in front of the other."""

    name: str
    first: float
    second: float
    said: str


@dataclass(frozen=True)
class Plot:
    name: str
    about: str
    said: str
    drawing: Markup | str = ""
    bars: Sequence[BarRow] = ()


@dataclass(frozen=True)
class ShiftView:
    quantity: str
    distance: float
    middle: str
    middles: tuple[str, str]
    drawing: Markup | str = ""
    bars: Sequence[BarRow] = ()
    said: str = ""


@dataclass(frozen=True)
class Drift:
    """`chance`: what the distances are worth, at so many pictures; `few`: nothing."""

    said: str
    chance: str
    few: bool
    shifts: Sequence[ShiftView]
    gained: Sequence[Word]
    lost: Sequence[Word]
    overlap: Overlap | None


@dataclass(frozen=True)
class Removed:
    """A picture that went, and the one of another data set for which it did."""

    uid: str
    other: str
    reason: str
    whose: str


@dataclass(frozen=True)
class Balance:
    """The entries with most and with fewest pairs: each with its pairs before and after; how many entries there are."""

    entries: Sequence[tuple[str, int, int]]
    number: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that is shown. `part`: whether what is not counted exactly comes from a part of the rows."""

    title: str
    tiles: Sequence[Tile]
    basis: str
    part: bool
    listed: int
    fetched: int
    funnel: Markup
    rules: Sequence[RuleView]
    others: Sequence[Sweep]
    plots: Sequence[Plot]
    kinds: Sequence[Kind]
    failing: Sequence[Host]
    hosts: Sequence[Host]
    hosts_said: str
    groups: Sequence[tuple[str, Groups]]
    removed: Sequence[Removed]
    removed_count: int
    balance: Balance | None = None
    drift: Drift | None = None
    truth: Truth | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def sections(self) -> list[tuple[str, str]]:
        names = [
            ("whole", "All"), ("rules", "Rules"), ("values", "Values"), ("failures", "Failures"), ("copies", "Copies"),
            ("evaluation", "Evaluation sets"),
        ]  # fmt: skip
        more = [("balance", "Balance", self.balance), ("drift", "Drift", self.drift), ("truth", "Truth", self.truth)]
        return names + [(name, title) for name, title, there in more if there]

    def html(self) -> str:
        """One file that needs no other, and no script."""
        environment = Environment(
            loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        environment.filters.update(clean=clean, count=count, share=share, host=_host, rate=_rate)
        style = Markup((_FOLDER / "page.css").read_text())
        return environment.get_template("page.html.j2").render(page=self, style=style)


def clean(text: str, longest: int) -> str:
    """One line of so many characters, without any that are not seen."""
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def count(number: float, part: bool = False) -> str:
    """1,234; with ≈ and three digits where it is worked out from a part."""
    if not part or number == 0:
        return f"{number:,.0f}"
    return f"≈ {float(f'{number:.3g}'):,.0f}"


def share(number: float, whole: float) -> Any:
    return Markup(" <small>{:.1f} %</small>").format(100 * number / whole) if whole else ""


def _host(url: str) -> str:
    return host_of(url) or url or NO_HOST


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
