"""What is due, what goes on and what comes of it. Times are handed in, so that any night can be played in no time."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pipelines.scheduling.attempt import Attempt
from pipelines.scheduling.cron import Cron
from pipelines.scheduling.desk import Desk, Ended, Firing, Outcome, State
from pipelines.workflow.ending import OK, USAGE_FAULT
from pipelines.workflow.firings import token
from pipelines.workflow.lock import Lock
from pipelines.workflow.tracking import BEGUN_BY

Overlap = Literal["skip", "queue"]
ON_TIME = timedelta(seconds=60)
"""So late a run may begin and is not called late: the machine may be busy."""
MOST_COUNTED = 1000
"""Missed times that are counted one by one."""
IDLE, WATCHING = timedelta(seconds=30), timedelta(seconds=0.5)
"""How long until the next look, at most: machines sleep and clocks are set."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run, when, and what happens when something is in the way."""

    name: str
    command: tuple[str, ...]
    cron: Cron | None = None
    """None: it is run by hand."""
    grace: timedelta = timedelta(days=1)
    overlap: Overlap = "skip"
    retries: int = 2
    pause: timedelta = timedelta(minutes=10)

    def shown(self, time: datetime) -> str:
        return self.cron.shown(time) if self.cron else f"{time:%Y-%m-%d %H:%M} UTC"


class Scheduler:
    """Runs a plan. Whoever has it calls `begin` once and `tick` again and again, with the time."""

    def __init__(self, plan: Plan, desk: Desk, tell: Callable[[Outcome], str], say: Callable[[str], None]) -> None:
        """`tell` is told of each outcome, and returns its run in MLflow; it may be told of one again after a kill."""
        self.plan, self.desk = plan, desk
        self.ended: Outcome | None = None
        """What became of the run that this process began last."""
        self._tell, self._say = tell, say
        self._lane: Lock | None = None
        self._attempt: Attempt | None = None

    def begin(self, now: datetime) -> None:
        """Take up the schedule where it was left; a new one, or one at other times, has missed nothing yet."""
        cron, state = self.plan.cron, self.desk.state()
        assert cron is not None
        fresh = (state.cron, state.timezone) != (cron.expression, cron.timezone) or state.settled is None
        if fresh and state.cron:
            self._say(f"was at {state.cron!r} {state.timezone} until now")
        self.desk.set(
            cron=cron.expression,
            timezone=cron.timezone,
            command=self.plan.command,
            settled=now if fresh else state.settled,
            waiting=None if fresh else state.waiting,
        )
        if not fresh and state.waiting is not None and self._too_late(state.waiting, now):
            self._end(_outcome(state.waiting, now, "missed", "it waited when its scheduler ended"), waiting=None)
        if state.going is not None and state.going.again is not None:
            self._say(self._what_goes())
        self._say(f"next at {cron.shown(cron.next(now))}")

    def tick(self, now: datetime) -> timedelta:
        """Do what the time asks for. Returns how long from now it should be called again, at the latest."""
        cron = self.plan.cron
        self._attend(now)
        if cron is not None:
            self._settle(cron, now)
            state = self.desk.state()
            if state.waiting is not None and self._free():
                self._fire(state.waiting, now, waiting=None)
            self._tell_all()
        state = self.desk.state()
        if cron is None or state.going is not None or state.waiting is not None:
            return WATCHING
        return min(IDLE, max(cron.next(now) - now, timedelta(0)))

    def fire(self, now: datetime) -> bool:
        """Run it now, by hand. False where a run of it is still going."""
        if not self._take():
            return False
        left = self.desk.state().going
        if left is not None:
            self._go_on(left)
            return True
        self._fire(now.replace(microsecond=0), now)
        return True

    def wait(self) -> None:
        """A run by hand takes place later: another is going."""
        self._say(f"waits: {self._what_goes()}")

    def skip(self, now: datetime) -> None:
        """A run by hand does not take place: another is going."""
        self._end(_outcome(now, now, "skipped", self._what_goes()))

    @property
    def at_work(self) -> bool:
        return self._lane is not None

    def stop(self) -> None:
        """End the pipeline that is at work; the next scheduler of this name goes on with it."""
        if self._attempt is not None:
            self._attempt.stop()
        self._release()

    def _attend(self, now: datetime) -> None:
        """Look after the run that is going: its end, its next attempt, or its being left behind by a kill."""
        if self._attempt is not None:
            code = self._attempt.poll()
            if code is not None:
                self._attempt_ended(code, now)
        elif self.desk.state().going is not None and self._take():
            going = self.desk.state().going  # as whoever had the lane left it
            if going is None:
                self._release()
            elif going.again is None or going.again <= now:
                self._go_on(going)

    def _go_on(self, going: Firing) -> None:
        """Begin the next attempt of a run that failed, or once more the one that was cut short."""
        run = f"the run of {self.plan.shown(going.planned)}"
        if going.again is None:
            self._say(f"{run} was cut short; it goes on")
            self._start(going)
            return
        attempt = going.attempt + 1
        self._say(f"attempt {attempt} of {max(attempt, self.plan.retries + 1)} of {run} begins")
        self._start(replace(going, attempt=attempt, again=None))

    def _attempt_ended(self, code: int, now: datetime) -> None:
        going = self.desk.state().going
        assert going is not None and self._attempt is not None
        why = "" if code == OK else _why(code, self._attempt.last_line())
        if code == USAGE_FAULT:
            why += " (not retried: the command line is wrong)"
        elif code != OK and going.attempt <= self.plan.retries:
            again = now + self.plan.pause * 2 ** (going.attempt - 1)
            self.desk.set(going=replace(going, again=again))
            self._attempt = None
            self._say(f"the run of {self.plan.shown(going.planned)} failed ({why}); again at {self.plan.shown(again)}")
            return
        outcome = _outcome(going.planned, now, "done" if code == OK else "failed", why)
        self.ended = replace(outcome, started=going.started, attempts=going.attempt)
        self._end(self.ended, going=None)
        self._release()

    def _settle(self, cron: Cron, now: datetime) -> None:
        """Deal with the planned times that have come since the last look."""
        state = self.desk.state()
        assert state.settled is not None
        due = cron.between(state.settled, now, MOST_COUNTED)
        newest = due[0] if due and not self._too_late(due[0], now) else None
        missed = due if newest is None else due[1:]
        if missed:
            at_least = "at least " if len(due) == MOST_COUNTED else ""
            why = f"nobody ran it: {at_least}{len(missed)} planned since {cron.shown(missed[-1])}"
            self._end(_outcome(missed[0], now, "missed", why, times=len(missed)), settled=missed[0])
        if newest is None:
            return
        if self._free():
            if now - newest > ON_TIME:
                self._say(f"catches up on {cron.shown(newest)}")
            self._fire(newest, now, settled=newest)
        elif self.plan.overlap == "queue" and state.waiting is None:
            self._say(f"{cron.shown(newest)} waits: {self._what_goes()}")
            self.desk.set(settled=newest, waiting=newest)
        else:
            more = "" if state.waiting is None else ", and another waits already"
            why = f"{self._what_goes()}{more}"
            self._end(_outcome(newest, now, "skipped", why), settled=newest)

    def _too_late(self, planned: datetime, now: datetime) -> bool:
        return now - planned > max(self.plan.grace, ON_TIME)

    def _fire(self, planned: datetime, now: datetime, **changes: Any) -> None:
        """Begin a run; the lane is ours."""
        self._say(f"runs {self.plan.shown(planned)}; it prints to {self.desk.log(planned)}")
        self._start(Firing(planned=planned, started=now), **changes)

    def _start(self, going: Firing, **changes: Any) -> None:
        """Begin an attempt; a kill from here on leaves a run that was cut short."""
        assert self._lane is not None
        self.desk.set(going=going, **changes)
        self.desk.keep_logs()
        begun = {BEGUN_BY: token(self.plan.name, going.planned), "VLP_ROOT": str(self.desk.root)}
        self._attempt = Attempt(self.plan.command, self.desk.log(going.planned), self._lane, begun)

    def _end(self, outcome: Outcome, **changes: Any) -> None:
        """An outcome, on disk in one write with what it changes. A scheduler tells of it from there, also after a kill;
        a run by hand, beside which there may be a scheduler, does so itself."""
        if self.plan.cron is None:
            self.desk.set(last=outcome, **changes)
            self._told(outcome)
        else:
            self.desk.update(lambda state: replace(state, last=outcome, untold=(*state.untold, outcome), **changes))

    def _tell_all(self) -> None:
        while untold := self.desk.state().untold:
            self._told(untold[0], untold=untold[1:])

    def _told(self, outcome: Outcome, **changes: Any) -> None:
        told = replace(outcome, run=self._tell(outcome))

        def put(state: State) -> State:
            return replace(state, last=told if state.last == outcome else state.last, **changes)

        self.desk.update(put)

    def _free(self) -> bool:
        """Whether nothing is going; the lane is ours then."""
        return self._take() and self.desk.state().going is None

    def _take(self) -> bool:
        if self._lane is None:
            lane = self.desk.lane
            if not lane.take():
                return False
            self._lane = lane
        return True

    def _release(self) -> None:
        self._attempt = None
        if self._lane is not None:
            self._lane.release()
            self._lane = None

    def _what_goes(self) -> str:
        going = self.desk.state().going
        if going is None:
            return "another run of it is still going"
        run = f"the run of {self.plan.shown(going.planned)}"
        if going.again is None:
            return f"{run} is still going"
        return f"{run} failed and waits for its retry at {self.plan.shown(going.again)}"


def _outcome(planned: datetime, now: datetime, state: Ended, why: str, times: int = 1) -> Outcome:
    return Outcome(planned=planned, ended=now, state=state, why=why, times=times)


def _why(code: int, last_line: str) -> str:
    if code < 0:
        return f"it was ended by a signal: {signal.strsignal(-code)}"
    return last_line.removeprefix("error: ") or f"exit code {code}"
