#!/usr/bin/env python
"""A pipeline at the times of a cron expression, for years: what is missed, overlaps or fails is dealt with and told.

pipelines/schedule.py --cron "0 3 * * *" --root /data/runs -- pipelines/refresh_data.py --source list.csv --into photos
pipelines/schedule.py --submit …      # the same, as a job of the Ray cluster that runs
pipelines/schedule.py --list --root /data/runs
"""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from pipelines.scheduling.attempt import command_of
from pipelines.scheduling.cron import Cron, duration
from pipelines.scheduling.desk import Desk
from pipelines.scheduling.listing import lines
from pipelines.scheduling.room import Room
from pipelines.scheduling.scheduler import Overlap, Plan, Scheduler
from pipelines.scheduling.submission import portable, submit
from pipelines.scheduling.telling import Hooks, Teller
from pipelines.workflow.cli import Interruption, existing_root, open_root, parse
from pipelines.workflow.ending import FAULT, OK, disk_faults, ended
from vlp_core.data.releases import parted
from vlp_core.errors import UserError
from vlp_core.web.addresses import Gate
from vlp_core.web.hook import check_hook

NAME = "schedule"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Run the pipeline that is named after -- with its flags at the times of a cron expression."""

    cron: str = ""
    """When: minute, hour, day of month, month, day of week, as in '0 3 * * *'."""
    name: str = ""
    """The schedule's name. Default: that of --into, or of the pipeline."""
    timezone: str = "UTC"
    """The time zone that --cron is in, such as Europe/Berlin."""
    misfire_grace: str = "1d"
    """How long ago a missed time may be that is still run: the last one, once, however many there were; 0: none."""
    overlap: Overlap = "skip"
    """What happens to a time that comes while a run is still going: it is skipped, or run after that (one at most)."""
    retries: int = 2
    """Further attempts of a run that failed, whatever the reason (a server that was away is there again), unless its
    command line is wrong."""
    retry_pause: str = "10m"
    """Before the first of them; doubles each time."""
    on_failure: str | None = None
    """A command for the shell that is told of a failure, as JSON on its standard input."""
    web_hook: str | None = None
    """An address that is told of a failure, by POST, as JSON."""
    allow_private: tuple[str, ...] = ()
    """Private addresses that --web-hook may lead to: HOST:PORT, ADDRESS or NETWORK/BITS."""
    submit: bool = False
    """Hand it to the Ray cluster that runs, as a job, and return."""
    once: bool = False
    """Run it now, once, and return."""
    list: bool = False
    """Say what schedules the root has, and return."""
    next: int = 0
    """Print the next so many times, and return."""

    def __post_init__(self) -> None:
        """All is checked, also what does not count this time."""
        if self.retries < 0:
            raise UserError(f"--retries {self.retries}: give 0 or more")
        if self.next < 0:
            raise UserError(f"--next {self.next}: give how many times are to be printed")
        Cron(self.cron or "* * * * *", self.timezone)
        duration(self.misfire_grace, "--misfire-grace")
        duration(self.retry_pause, "--retry-pause")
        _name(self.name, ())
        gate = _gate(self.allow_private)
        if self.web_hook is not None:
            check_hook(self.web_hook, gate, "--web-hook")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it is kept."""

    root: Path | None = None
    """The folder of all results, for the pipeline too: a local or shared disk. Default: $VLP_ROOT, else ./runs."""


def plan_of(config: Schedule, words: Sequence[str]) -> Plan:
    """UserError for whatever of the flags is wrong."""
    if not config.cron and not config.once:
        raise UserError("--cron: say when, such as --cron '0 3 * * *', or give --once")
    return Plan(
        name=_name(config.name, words),
        command=command_of(words),
        cron=None if config.once else Cron(config.cron, config.timezone),
        grace=duration(config.misfire_grace, "--misfire-grace"),
        overlap=config.overlap,
        retries=config.retries,
        pause=duration(config.retry_pause, "--retry-pause"),
    )


def _name(given: str, words: Sequence[str]) -> str:
    name = given or _value(words, "--into").partition("@")[0] or (Path(words[0]).stem if words else "")
    try:
        plain = parted(name)[1] is None
    except UserError:
        plain = False
    if name and not plain:
        raise UserError(f"--name {name!r}: give a name of letters, digits, dots, dashes and underscores")
    return name


def _with_root(given: Path | None, words: Sequence[str]) -> Path | None:
    """The root that the schedule and its pipeline share. UserError where they name two."""
    own = _value(words, "--root")
    if given is not None and own and given.absolute() != Path(own).absolute():
        raise UserError(f"--root {given}: the pipeline has --root {own}; give one for both")
    return given or (Path(own) if own else None)


def _value(words: Sequence[str], flag: str) -> str:
    """What a flag of the pipeline says; empty where it is not given."""
    for word, following in pairwise([*words, ""]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def _gate(allowed: Sequence[str]) -> Gate:
    try:
        return Gate(allow_private=allowed)
    except UserError as error:
        raise UserError(str(error).replace("--fetch.", "--")) from error


def _now() -> datetime:
    return datetime.now(UTC)


def _keep_at_it(scheduler: Scheduler, room: Room, *, once: bool) -> int:
    """Tick until it is over, which but for a run by hand it never is, or until Ctrl-C or SIGTERM."""
    interruption = Interruption()
    interruption.defer()
    try:
        while not (once and not scheduler.at_work):
            until = time.monotonic() + room.tick(scheduler, _now()).total_seconds()
            while not interruption.asked() and (left := until - time.monotonic()) > 0:
                time.sleep(min(0.5, left))
            if interruption.asked():
                raise KeyboardInterrupt
    finally:
        scheduler.stop()
    return OK if scheduler.ended is None or scheduler.ended.state == "done" else FAULT


def _once(scheduler: Scheduler, plan: Plan, room: Room) -> int:
    if not scheduler.fire(_now()):
        if plan.overlap == "skip":
            scheduler.skip(_now())
            return OK
        scheduler.wait()
        while not scheduler.fire(_now()):
            time.sleep(1)
    return _keep_at_it(scheduler, room, once=True)


def _run(config: Schedule, given: Path | None, words: list[str], own: Sequence[str]) -> int:
    plan = plan_of(config, words)
    if config.submit:
        root = open_root(given, look_only=True)
        job = submit(plan.name, root, portable(root, own, words, Path(plan.command[0])))
        print(
            f"{plan.name} is job {job.id}: handed to the Ray cluster at {job.cluster}; "
            f"`ray job logs --follow {job.id}` follows it, `ray job stop {job.id}` ends it"
        )
        return OK
    root = open_root(given)
    with disk_faults(root):
        return _scheduled(config, plan, root)


def _scheduled(config: Schedule, plan: Plan, root: Path) -> int:
    desk = Desk(root, plan.name)

    def say(text: str) -> None:
        with suppress(OSError):  # a log that takes no more is no reason to stop
            print(f"{_now():%Y-%m-%d %H:%M:%S} UTC  {plan.name}: {text}", flush=True)

    hooks = Hooks(say, config.on_failure, config.web_hook, _gate(config.allow_private))
    scheduler, room = Scheduler(plan, desk, Teller(plan, desk, hooks, say), say), Room(root, plan, hooks)
    if config.once:
        return _once(scheduler, plan, room)
    with desk.alone():
        scheduler.begin(_now())
        return _keep_at_it(scheduler, room, once=False)


def main(words: Sequence[str]) -> int:
    return ended(lambda: _asked(words), interrupted="stopped; the same command goes on from here")


def _asked(words: Sequence[str]) -> int:
    own, pipeline = list(words), []
    if "--" in own:
        at = own.index("--")
        own, pipeline = own[:at], own[at + 1 :]
    config, place = parse(Schedule, own, NAME, Place)
    root = _with_root(place.root, pipeline)
    if config.list:
        for line in lines(existing_root(root), _now()):
            print(line)
        return OK
    if config.next:
        cron, at_time = Cron(config.cron, config.timezone), _now()
        for _ in range(config.next):
            at_time = cron.next(at_time)
            print(f"{cron.shown(at_time)}")
        return OK
    return _run(config, root, pipeline, own)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
