"""A schedule whose disk is full, or whose machine has no process left, goes on: it waits for room."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.scheduling.scheduler import IDLE, Plan, Scheduler
from pipelines.scheduling.telling import Hooks
from vlp_core.errors import first_line
from vlp_core.files import full_disk, no_space


@dataclass
class Room:
    """Whether the machine lets a schedule work: that it does not is told once, and it is tried again."""

    root: Path
    plan: Plan
    hooks: Hooks
    told: bool = False

    def tick(self, scheduler: Scheduler, now: datetime) -> timedelta:
        try:
            wait = scheduler.tick(now)
        except OSError as error:
            if self.plan.cron is None:
                raise
            if not self.told:
                said = no_space(self.root) if full_disk(error) else f"{first_line(error)}; it is tried again"
                self.hooks.say(said)
                self.hooks.tell({"schedule": self.plan.name, "state": "failed", "error": said})
            self.told = True
            return IDLE
        self.told = False
        return wait
