"""The DAG as a picture: boxes from top to bottom, one row a depth, coloured by what became of each step."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.workflow.step import Step, walk

COLOURS = {
    "made": "#cfe8cf",
    "reused": "#d9e3f0",
    "failed": "#f4c7c3",
    "waiting": "#eeeeee",
}
WIDTH, HEIGHT, GAP_X, GAP_Y = 2.6, 0.85, 0.3, 0.45


def places(steps: Sequence[Step]) -> dict[str, tuple[float, float]]:
    """Column and row of each step: the row is its depth, the column as near as can be to what it stands on."""
    row: dict[str, int] = {}
    for step in steps:
        row[step.name] = max((row[found.name] + 1 for found in step.dependencies), default=0)
    column: dict[str, float] = {}
    for depth in range(max(row.values(), default=0) + 1):
        members = [step for step in steps if row[step.name] == depth]
        wish = {
            step.name: min((column[found.name] for found in step.dependencies), default=float(number))
            for number, step in enumerate(members)
        }
        taken = float("-inf")
        for step in sorted(members, key=lambda step: wish[step.name]):
            taken = max(wish[step.name], taken + 1)
            column[step.name] = taken
    return {name: (column[name], float(row[name])) for name in row}


def direct(step: Step) -> list[str]:
    """What a step stands on, without what it stands on through another of these: the arrows that say something."""
    names = {found.name for found in step.dependencies}
    through = {deeper.name for found in step.dependencies for deeper in walk([found]) if deeper is not found}
    return sorted(names - through)


def draw(steps: Sequence[Step], states: Mapping[str, str], notes: Mapping[str, str], path: Path) -> None:
    """Write the picture as PNG; `states` is one of COLOURS a step, `notes` a line under its name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    corner = {name: (x * (WIDTH + GAP_X), y * (HEIGHT + GAP_Y)) for name, (x, y) in places(steps).items()}
    right = max(x for x, _ in corner.values()) + WIDTH
    bottom = max(y for _, y in corner.values()) + HEIGHT
    figure = Figure(figsize=(right + 0.4, bottom + 0.7), dpi=80)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.2, right + 0.2)
    axes.set_ylim(bottom + 0.5, -0.2)
    axes.axis("off")
    for step in steps:
        for dependency in direct(step):
            _arrow(axes, corner[dependency], corner[step.name])
    for step in steps:
        _box(axes, corner[step.name], step.name, notes.get(step.name, ""), COLOURS[states.get(step.name, "waiting")])
    handles = [Patch(fc=colour, ec="#555555", label=state) for state, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="lower left", ncols=len(handles), fontsize=9, frameon=False)
    figure.savefig(path, format="png")


def _arrow(axes: Any, source: tuple[float, float], target: tuple[float, float]) -> None:
    from matplotlib.patches import FancyArrowPatch

    start = (source[0] + WIDTH / 2, source[1] + HEIGHT)
    end = (target[0] + WIDTH / 2, target[1])
    straight = start[0] == end[0] and end[1] - start[1] < HEIGHT
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=10,
            color="#9a9a9a",
            linewidth=1.0,
            connectionstyle="arc3" if straight else "arc3,rad=0.12",
            zorder=0,
        )
    )


def _box(axes: Any, corner: tuple[float, float], name: str, note: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle=style, fc=colour, ec="#555555", lw=0.8))
    x, y = corner[0] + WIDTH / 2, corner[1]
    axes.text(x, y + 0.23, name, ha="center", va="center", fontsize=11, weight="bold")
    lines = "\n".join(textwrap.wrap(note, 36)[:2])
    axes.text(x, y + 0.59, lines, ha="center", va="center", fontsize=8, color="#333333")
