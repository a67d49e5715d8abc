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

    def __init__(self, points: list[Point] | None = None, window: list[list[float]] | None = None) -> None:
        """`window`: loss, gradient norm and scale of each step since the last point, as `read` left them."""
        self.points = points or []
        self.window = window or []
        self._unread: list[Tensor] = []

    def add(self, outcome: Outcome) -> None:
        self._unread.append(torch.stack([outcome.loss, outcome.grad_norm, outcome.scale]))

    def read(self, step: int, ranks: Ranks) -> None:
        """Bring in the outcomes up to `step`, averaged over the ranks; UserError where one is not finite."""
        if not self._unread:
            return
        rows = ranks.mean(torch.stack(self._unread)).tolist()
        first = step - len(rows) + 1
        self._unread.clear()
        for number, row in enumerate(rows, first):
            if not all(map(math.isfinite, row)):
                raise UserError(
                    f"step {number}: loss {row[0]:g} with a gradient of length {row[1]:g} is not finite; lower "
                    "--train.lr, lengthen --train.warmup or set --train.clip-norm (the checkpoints before it stay)"
                )
        self.window += rows

    def point(self, *, step: int, samples: int, lr: float) -> Point:
        """Close the window: means of loss and gradient norm since the point before, the scale of the last step."""
        loss, grad_norm = (math.fsum(row[i] for row in self.window) / len(self.window) for i in (0, 1))
        point = {
            "step": step,
            "samples": samples,
            "loss": loss,
            "scale": self.window[-1][2],
            "lr": lr,
            "grad_norm": grad_norm,
        }
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


def draw(points: list[Point], path: Path) -> None:
    """A picture of loss, scale, learning rate and gradient norm over the samples seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes: Any = figure.subplots(2, 2, sharex=True)
    titles = {"loss": "loss", "scale": "scale of the similarities", "lr": "learning rate", "grad_norm": "gradient norm"}
    for ax, (name, title) in zip(axes.flat, titles.items(), strict=True):
        ax.plot([point["samples"] for point in points], [point[name] for point in points], linewidth=1.2)
        ax.set_title(title)
        ax.grid(alpha=0.3)
    for ax in axes[1]:
        ax.set_xlabel("pairs seen")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
