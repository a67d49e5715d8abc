"""The curve of a run: what each point holds, where it is kept, and its picture."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlp_core.errors import UserError
from vlp_core.files import replacing, write_text
from vlp_core.tracker import Tracker
from vlp_core.train.engine import Outcome
from vlp_core.train.ranks import Ranks

CURVE_FILE = "curve.jsonl"
PICTURE_FILE = "curve.png"

Point = dict[str, float]


class Curve:
    """Points so far, and what the steps since the last one gave.

    Equal runs give equal points on a CPU. On a GPU they agree but for rounding, which grows with the steps: torch's
    fastest kernels, which are used, add the gradients of convolutions and attention up in no fixed order.

    Steps leave tensors behind, which are read together: reading one makes the CPU wait for the device.
    """

    def __init__(self, points: list[Point] | None = None, window: list[Point] | None = None) -> None:
        """`window`: what each step since the last point gave, as `read` left it."""
        self.points = points or []
        self.window = window or []
        self._names: list[str] = []
        self._unread: list[Tensor] = []

    def add(self, outcome: Outcome) -> None:
        self._names = list(outcome.values)
        self._unread.append(torch.stack(list(outcome.values.values())))

    def read(self, step: int, ranks: Ranks) -> None:
        """Bring in the outcomes up to `step`, averaged over the ranks; UserError where one is not finite."""
        if not self._unread:
            return
        rows = ranks.mean(torch.stack(self._unread)).tolist()
        first = step - len(rows) + 1
        self._unread.clear()
        for number, row in enumerate(rows, first):
            values = dict(zip(self._names, row, strict=True))
            if not all(map(math.isfinite, row)):
                raise UserError(
                    f"step {number}: loss {values['loss']:g} with a gradient of length {values['grad_norm']:g} is not "
                    "finite; lower --train.lr, lengthen --train.warmup or set --train.clip-norm (the checkpoints "
                    "before it stay)"
                )
            self.window.append(values)

    def point(self, *, step: int, samples: int, lr: float) -> Point:
        """Close the window: the means since the point before, but the scale of the last step."""
        last, rows = self.window[-1], self.window
        means = {name: math.fsum(row[name] for row in rows) / len(rows) for name in last if name != "scale"}
        scale = {"scale": last["scale"]} if "scale" in last else {}
        point = {"step": step, "samples": samples, "loss": means.pop("loss"), **scale, "lr": lr, **means}
        self.points.append(point)
        self.window = []
        return point

    def write(self, folder: Path) -> None:
        write_text(folder / CURVE_FILE, "".join(json.dumps(point) + "\n" for point in self.points))

    def append(self, folder: Path) -> None:
        """Add the last point to the file, for those who watch it grow."""
        with (folder / CURVE_FILE).open("a") as file:
            file.write(json.dumps(self.points[-1]) + "\n")


def read_points(folder: Path) -> list[Point]:
    """The points of a run's or a checkpoint's folder; none where it has no curve yet."""
    path = folder / CURVE_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measured(point: Point) -> dict[str, float]:
    """A point without its place on the axis."""
    return {name: value for name, value in point.items() if name not in ("step", "samples")}


def tell(tracker: Tracker, points: list[Point]) -> None:
    for point in points:
        tracker.metrics(measured(point), step=int(point["step"]))


TITLES = {"scale": "scale of the similarities", "lr": "learning rate", "grad_norm": "gradient norm"}


def draw(points: list[Point], path: Path) -> None:
    """A picture of everything that the points hold, over the samples seen."""
    from matplotlib.figure import Figure

    names = [name for name in points[-1] if name not in ("step", "samples")]
    rows = math.ceil(len(names) / 2)
    figure = Figure(figsize=(10, 3 * rows), layout="constrained")
    axes: Any = figure.subplots(rows, 2, sharex=True, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        ax.plot([point["samples"] for point in points], [point[name] for point in points], linewidth=1.2)
        ax.set_title(TITLES.get(name, name))
        ax.grid(alpha=0.3)
    for ax in list(axes.flat)[len(names) :]:
        ax.set_axis_off()
    for ax in axes[-1]:
        ax.set_xlabel("pairs seen")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
