"""When the steps of a DAG end, given what each takes: those that work at once share the machine."""

from collections.abc import Sequence
from dataclasses import dataclass

_NOTHING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a step takes: `fixed` seconds whatever there is to do (its start, imports, what it draws), then `work`
    seconds if it has the machine for itself, of which it uses a share of up to 1."""

    name: str
    after: tuple[str, ...]
    fixed: float
    work: float
    share: float

    @property
    def seconds(self) -> float:
        return self.fixed + self.work


@dataclass(frozen=True, kw_only=True)
class Span:
    start: float
    end: float


def timeline(loads: Sequence[Load]) -> dict[str, Span]:
    """Each step begins when all that it stands on have ended. Shares that add up to more than the machine slow all
    that work down alike."""
    fixed = {load.name: load.fixed for load in loads}
    work = {load.name: load.work for load in loads}
    start: dict[str, float] = {}
    end: dict[str, float] = {}
    now = 0.0
    while len(end) < len(loads):
        for load in loads:
            if load.name not in start and all(name in end for name in load.after):
                start[load.name] = now
        running = [load for load in loads if load.name in start and load.name not in end]
        asked = sum(load.share for load in running if fixed[load.name] <= _NOTHING and work[load.name] > _NOTHING)
        rate = min(1.0, 1.0 / asked) if asked else 1.0
        left = {
            load.name: fixed[load.name] if fixed[load.name] > _NOTHING else work[load.name] / rate for load in running
        }
        step = min(left.values())
        now += step
        for load in running:
            if fixed[load.name] > _NOTHING:
                fixed[load.name] -= step
            else:
                work[load.name] -= step * rate
            if fixed[load.name] <= _NOTHING and work[load.name] <= _NOTHING:
                end[load.name] = now
    return {load.name: Span(start=start[load.name], end=end[load.name]) for load in loads}


def busy(spans: Sequence[Span]) -> float:
    """Seconds in which at least one of these is at work."""
    total, until = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start):
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total
