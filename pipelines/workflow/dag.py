"""The DAG as a picture: boxes left to right, one column a depth, coloured by what became of each step."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.workflow.step import Step

COLOURS = {
    "made": "#cfe8cf",
    "reused": "#d9e3f0",
    "failed": "#f4c7c3",
    "waiting": "#eeeeee",
}
WIDTH, HEIGHT, GAP_X, GAP_Y = 2.5, 0.95, 0.55, 0.35


def places(steps: Sequence[Step]) -> dict[str, tuple[float, float]]:
    """Column and row of each step: the column is its depth, rows put a step near what it stands on."""
    column: dict[str, int] = {}
    for step in steps:
        column[step.name] = max((column[found.name] + 1 for found in step.dependencies), default=0)
    row: dict[str, float] = {}
    for depth in range(max(column.values(), default=0) + 1):
        members = [step for step in steps if column[step.name] == depth]
        wish = {
            step.name: sum(row[found.name] for found in step.dependencies) / len(step.dependencies)
            if step.dependencies
            else float(number)
            for number, step in enumerate(members)
        }
        taken = float("-inf")
        for step in sorted(members, key=lambda step: wish[step.name]):
            taken = max(wish[step.name], taken + 1)
            row[step.name] = taken
    return {name: (float(column[name]), row[name]) for name in column}


def draw(steps: Sequence[Step], states: Mapping[str, str], notes: Mapping[str, str], path: Path) -> None:
    """Write the picture as PNG; `states` is one of COLOURS a step, `notes` a line under its name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

    at = places(steps)
    columns = max(x for x, _ in at.values()) + 1
    rows = max(y for _, y in at.values()) + 1
    size = (columns * (WIDTH + GAP_X) * 0.8, max(2.2, rows * (HEIGHT + GAP_Y) * 0.9 + 0.5))
    figure = Figure(figsize=size, dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.2, columns * (WIDTH + GAP_X))
    axes.set_ylim(rows * (HEIGHT + GAP_Y) + 0.4, -0.2)
    axes.axis("off")
    corner = {name: (x * (WIDTH + GAP_X), y * (HEIGHT + GAP_Y)) for name, (x, y) in at.items()}
    for step in steps:
        x, y = corner[step.name]
        for dependency in {found.name for found in step.dependencies}:
            from_x, from_y = corner[dependency]
            axes.add_patch(
                FancyArrowPatch(
                    (from_x + WIDTH, from_y + HEIGHT / 2),
                    (x, y + HEIGHT / 2),
                    arrowstyle="-|>",
                    mutation_scale=9,
                    color="#9a9a9a",
                    linewidth=0.9,
                    connectionstyle="arc3,rad=0.08" if abs(from_y - y) > 0.1 else "arc3",
                    zorder=1,
                )
            )
    for step in steps:
        x, y = corner[step.name]
        colour = COLOURS[states.get(step.name, "waiting")]
        axes.add_patch(
            FancyBboxPatch(
                (x, y), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", fc=colour, ec="#555555", lw=0.8
            )
        )
        axes.text(x + WIDTH / 2, y + 0.27, step.name, ha="center", va="center", fontsize=10, weight="bold")
        note = "\n".join(textwrap.wrap(notes.get(step.name, ""), 30)[:2])
        axes.text(x + WIDTH / 2, y + 0.65, note, ha="center", va="center", fontsize=7.2, color="#333333")
    handles = [Patch(fc=colour, ec="#555555", label=state) for state, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="lower left", ncols=len(handles), fontsize=8, frameon=False)
    figure.savefig(path, format="png")
