"""Drawings as inline SVG: all text in them is escaped, and what a bar stands for shows when it is pointed at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vlp_core.report.bins import Bins, Numbers, short

WIDTH, HEIGHT = 340, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 16, 18


@dataclass(frozen=True)
class Series:
    """What bars or a line show: shares or counts [B], under a name that is also its class in the style."""

    name: str
    style: str
    heights: NDArray[np.number]


def histogram(bins: Bins, series: Sequence[Series], marks: Iterable[tuple[float, str]] = ()) -> Markup:
    """Bars, one series before the other on the same axes; a series of style `line` as steps. Marks: thresholds."""
    highest = max((float(one.heights.max()) for one in series if len(one.heights)), default=0.0) or 1.0
    across = _across(bins.at(bins.edges))
    parts = [Markup('<svg class="plot" viewBox="0 0 {} {}" role="img">').format(WIDTH, HEIGHT)]
    for one in series:
        tall = one.heights.astype(np.float64) / highest * (HEIGHT - _TOP - _BOTTOM)
        parts.append(_steps(across, tall, one) if one.style == "line" else _bars(across, tall, one.style))
    for number in range(len(bins)):
        said = "; ".join(f"{one.name} {_told(one.heights[number])}" for one in series)
        parts.append(
            Markup(
                '<rect class="tip" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}: {}</title></rect>'
            ).format(
                across[number],
                _TOP,
                across[number + 1] - across[number],
                HEIGHT - _TOP - _BOTTOM,
                bins.label(number),
                said,
            )
        )
    parts += [_axis(bins), *(_mark(bins, at, text) for at, text in marks), Markup("</svg>")]
    return Markup("").join(parts)


def curve(bins: Bins, at: Numbers, heights: Numbers, marks: Sequence[tuple[float, str]] = ()) -> Markup:
    """A line over the axis of `bins`, with zero as its floor."""
    highest = float(heights.max(initial=0)) or 1.0
    across = _across(bins.at(at))
    tall = HEIGHT - _BOTTOM - heights / highest * (HEIGHT - _TOP - _BOTTOM)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, tall, strict=True))
    return Markup("").join(
        [
            Markup('<svg class="plot" viewBox="0 0 {} {}" role="img">').format(WIDTH, HEIGHT),
            Markup('<polyline class="curve" points="{}"/>').format(points),
            _top(bins, short(highest), marks),
            _axis(bins),
            *(_mark(bins, value, text) for value, text in marks),
            Markup("</svg>"),
        ]
    )


@dataclass(frozen=True)
class Bar:
    """A stage of the funnel: what came to it, what it leaves, and what is said of it."""

    name: str
    before: int
    left: int
    said: str


def funnel(bars: Sequence[Bar]) -> Markup:
    """One under the other: what is left after each stage, in front of what came to it."""
    row, start, long = 24, 190, 520
    most = max((bar.before for bar in bars), default=1) or 1
    parts = [Markup('<svg class="funnel" viewBox="0 0 980 {}" role="img">').format(row * len(bars) + 6)]
    for number, bar in enumerate(bars):
        y = row * number + 4
        parts.append(
            Markup(
                '<text class="name" x="{}" y="{}">{}</text>'
                '<rect class="light" x="{start}" y="{y}" width="{:.1f}" height="18"/>'
                '<rect class="dark" x="{start}" y="{y}" width="{:.1f}" height="18"/>'
                '<text class="said" x="{:.1f}" y="{}">{}</text>'
            ).format(
                start - 8, y + 13, bar.name, bar.before / most * long, bar.left / most * long,
                start + bar.before / most * long + 8, y + 13, bar.said, start=start, y=y,
            )
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def _across(shares: Numbers) -> Numbers:
    return _LEFT + shares * (WIDTH - _LEFT - _RIGHT)


def _bars(across: Numbers, tall: Numbers, style: str) -> Markup:
    """One path for all bars: half the bytes of a rectangle each."""
    floor = HEIGHT - _BOTTOM
    steps = [
        f"M{low:.1f} {floor}V{floor - high:.1f}H{end - 0.6:.1f}V{floor}z"
        for low, end, high in zip(across, across[1:], tall, strict=False)
        if high > 0
    ]
    return Markup('<path class="{}" d="{}"/>').format(style, "".join(steps))


def _steps(across: Numbers, tall: Numbers, one: Series) -> Markup:
    floor = HEIGHT - _BOTTOM
    path = f"M{across[0]:.1f} {floor}" + "".join(
        f"V{floor - high:.1f}H{end:.1f}" for end, high in zip(across[1:], tall, strict=True)
    )
    return Markup('<path class="{}" d="{}V{}"/>').format(one.style, path, floor)


def _axis(bins: Bins) -> Markup:
    floor = HEIGHT - _BOTTOM
    parts = [Markup('<path class="axis" d="M{} {}H{}"/>').format(_LEFT, floor, WIDTH - _RIGHT)]
    ticks = np.array(bins.ticks())
    for x, value in zip(_across(bins.at(ticks)), ticks, strict=True):
        parts.append(Markup('<text class="tick mid" x="{:.1f}" y="{}">{}</text>').format(x, HEIGHT - 5, short(value)))
    return Markup("").join(parts)


def _mark(bins: Bins, value: float, text: str) -> Markup:
    x = float(_across(bins.at(np.array([value])))[0])
    side = "end" if x > WIDTH / 2 else "start"
    shift = -4 if side == "end" else 4
    return Markup(
        '<path class="mark" d="M{x:.1f} {}V{}"/><text class="marked" text-anchor="{}" x="{:.1f}" y="10">{}</text>'
    ).format(2, HEIGHT - _BOTTOM, side, x + shift, text, x=x)


def _top(bins: Bins, text: str, marks: Sequence[tuple[float, str]]) -> Markup:
    """What the highest point stands for, at the side where no threshold is named."""
    named = [float(bins.at(np.array([value]))[0]) for value, _ in marks]
    if any(place <= 0.5 for place in named):
        return Markup('<text class="tick" text-anchor="end" x="{}" y="10">{}</text>').format(WIDTH - _RIGHT, text)
    return Markup('<text class="tick" x="{}" y="10">{}</text>').format(_LEFT, text)


def _told(height: float) -> str:
    return f"{height:,.0f}" if float(height) == round(float(height)) else f"{height:.2f}"
