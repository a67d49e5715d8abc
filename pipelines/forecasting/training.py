"""What a run of so many steps takes, by one of a few."""

from dataclasses import dataclass

import numpy as np

from vlp_core.train.settings import Train
from vlp_core.train.stopwatch import Times

_WARM = 0.2  # of the steps: the first ones, in which memory is laid out and code compiled, are no measure


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Seconds of a training: its start (workers, weights, the first steps' extra), a step, a checkpoint, its end."""

    start: float
    a_step: float
    spread: float | None
    """Standard error of a step, as a share of it; None where all were timed as one."""
    a_save: float
    end: float

    def of(self, train: Train) -> float:
        """All of a run; a checkpoint every so often, and one at the end."""
        return self.start + train.steps * self.a_step + saves(train) * self.a_save + self.end


def saves(train: Train) -> int:
    return -(-train.steps // train.checkpoint_every)


def steps_of(times: Times, started: float, finished: float) -> Steps:
    """`started` and `finished` are those of the step of the DAG."""
    steps = np.array([steps for steps, _ in times.windows])
    seconds = np.array([seconds for _, seconds in times.windows])
    warm = np.cumsum(steps) > _WARM * steps.sum()
    a_step = float(seconds[warm].sum() / steps[warm].sum())
    rates = seconds[warm] / steps[warm]
    spread = float(rates.std(ddof=1) / len(rates) ** 0.5 / a_step) if len(rates) > 1 else None
    late = float(seconds[~warm].sum() - a_step * steps[~warm].sum())
    return Steps(
        start=max(0.0, times.begun - started) + max(0.0, late),
        a_step=a_step,
        spread=spread,
        a_save=float(np.mean(times.saves)) if times.saves else 0.0,
        end=max(0.0, finished - times.ended),
    )
