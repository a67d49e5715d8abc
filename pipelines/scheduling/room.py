"""A schedule whose disk is full goes on: it waits for room."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.scheduling.scheduler import IDLE, Plan, Scheduler
from pipelines.scheduling.telling import Hooks
from vlp_core.files import full_disk, no_space


@dataclass
class Room:
    """Whether the disk takes what a schedule writes: of one that is full it is told once, and tried again."""

    root: Path
    plan: Plan
    hooks: Hooks
    told: bool = False

    def tick(self, scheduler: Scheduler, now: datetime) -> timedelta:
        try:
            wait = scheduler.tick(now)
        except OSError as error:
            if not full_disk(error) or self.plan.cron is None:
                raise
            if not self.told:
                self.hooks.say(no_space(self.root))
                self.hooks.tell({"schedule": self.plan.name, "state": "failed", "error": no_space(self.root)})
            self.told = True
            return IDLE
        self.told = False
        return wait
