"""Nights that are played: the time is handed in, the pipelines are processes that end when they are told to."""

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.scheduling.cron import Cron, duration
from pipelines.scheduling.desk import KEPT_LOGS, Desk, Firing, Outcome
from pipelines.scheduling.scheduler import MOST_COUNTED, Plan, Scheduler
from tests.waiting import until

PIPELINE = """
import os, sys, time
folder = os.path.dirname(__file__)
with open(f"{folder}/began", "a") as file:
    print(os.getpid(), os.environ["VLP_BEGUN_BY"], file=file)
while not os.path.exists(f"{folder}/end"):
    time.sleep(0.01)
with open(f"{folder}/end") as file:
    code = int(file.read())
print("error: the reason" if code else "fine")
sys.exit(code)
"""
NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Night:
    """A daily schedule at three, a pipeline that it runs, and what it tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pipeline.py").write_text(PIPELINE)
        self.plan = Plan(name="photos", command=(str(folder / "pipeline.py"),), cron=Cron("0 3 * * *"))
        self.desk = Desk(folder / "runs", "photos")
        self.told: list[Outcome] = []
        self.said: list[str] = []
        self.scheduler: Scheduler | None = None

    def start(self, now: datetime, **settings: Any) -> None:
        """Another scheduler, as if the one before had been killed."""
        self.scheduler = Scheduler(replace(self.plan, **settings), self.desk, self._tell, self.said.append)
        self.scheduler.begin(now)
        self.scheduler.tick(now)

    def tick(self, now: datetime) -> timedelta:
        assert self.scheduler is not None
        return self.scheduler.tick(now)

    def end(self, now: datetime, code: int = 0) -> None:
        """The pipeline at work ends, and the scheduler looks after it at that time."""
        before = len(self.told)
        (self.folder / "end").write_text(str(code))
        until(lambda: self.tick(now) and (len(self.told) > before or self.again))
        (self.folder / "end").unlink()

    def killed(self) -> None:
        """The scheduler, with the pipeline at work."""
        assert self.scheduler is not None and self.scheduler._attempt is not None and self.scheduler._lane is not None
        assert self.began  # or it would be before the pipeline is one
        process = self.scheduler._attempt._process
        process.kill()
        process.wait()
        self.scheduler._lane.release()
        self.scheduler = None

    @property
    def again(self) -> datetime | None:
        going = self.desk.state().going
        return going.again if going else None

    @property
    def began(self) -> list[str]:
        """The planned times of the runs that began."""
        path, going = self.folder / "began", self.desk.state().going
        if going is not None:
            until(lambda: path.exists() and f"{going.planned:%Y-%m-%dT%H:%M:%SZ}\n" in path.read_text())
        return [line.split()[2] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def outcomes(self) -> list[tuple[str, int]]:
        return [(outcome.state, outcome.planned.day) for outcome in self.told]

    def _tell(self, outcome: Outcome) -> str:
        self.told.append(outcome)
        return "run"


@pytest.fixture
def night(tmp_path: Path) -> Any:
    played = Night(tmp_path)
    yield played
    if played.scheduler is not None:
        played.scheduler.stop()


def test_it_runs_at_its_time_and_not_before(night: Night) -> None:
    night.start(NIGHT - HOUR)
    assert night.scheduler and night.scheduler.tick(NIGHT - timedelta(seconds=5)) == timedelta(seconds=5)
    assert night.desk.state().going is None
    night.tick(NIGHT)
    night.end(NIGHT + HOUR)
    night.tick(NIGHT + HOUR)
    assert night.outcomes == [("done", 21)] and night.began == ["2026-11-21T03:00:00Z"]
    last = night.desk.state().last
    assert last and last.run == "run" and last.started == NIGHT and last.ended == NIGHT + HOUR


@pytest.mark.parametrize("killed", [True, False], ids=["it was killed", "the machine slept"])
@pytest.mark.parametrize(("grace", "catches_up"), [("1d", True), ("1h", False)])
def test_of_what_was_missed_the_last_is_caught_up_on_once_or_not_at_all(
    night: Night, killed: bool, grace: str, catches_up: bool
) -> None:
    settings = {"grace": DAY if grace == "1d" else HOUR}
    night.start(NIGHT - HOUR, **settings)
    later = NIGHT + 3 * DAY + 6 * HOUR  # three times have come and gone since the first
    if killed:
        night.start(later, **settings)
    else:
        night.tick(later)
    if catches_up:
        assert [(outcome.state, outcome.times) for outcome in night.told] == [("missed", 3)]
        night.end(later)
        assert night.outcomes[1:] == [("done", 24)]
    else:
        assert [(outcome.state, outcome.times) for outcome in night.told] == [("missed", 4)]
    night.tick(later + HOUR)
    assert len(night.began) == catches_up and len(night.told) == 1 + catches_up


def test_without_grace_nothing_is_caught_up_on_and_what_is_seconds_late_runs(night: Night) -> None:
    night.start(NIGHT - HOUR, grace=duration("0", "--misfire-grace"))
    night.tick(NIGHT + timedelta(seconds=5))
    night.end(NIGHT + HOUR)
    night.tick(NIGHT + DAY + timedelta(minutes=2))
    assert night.outcomes == [("done", 21), ("missed", 22)] and len(night.began) == 1


def test_a_schedule_that_is_new_or_at_other_times_has_missed_nothing(night: Night) -> None:
    night.start(NIGHT + HOUR)
    night.start(NIGHT + 5 * DAY, cron=Cron("0 2 * * *"))
    assert night.told == [] and night.began == []


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_time_that_comes_while_a_run_is_going_is_skipped_or_run_after_it(night: Night, overlap: Any) -> None:
    night.start(NIGHT - HOUR, overlap=overlap)
    for days in range(3):
        night.tick(NIGHT + days * DAY)
    assert night.outcomes == ([("skipped", 22), ("skipped", 23)] if overlap == "skip" else [("skipped", 23)])
    assert "21 03:00 UTC is still going" in night.told[-1].why and len(night.began) == 1
    night.end(NIGHT + 2 * DAY + HOUR)
    assert night.outcomes[-1] == ("done", 21)
    if overlap == "queue":
        night.end(NIGHT + 2 * DAY + 2 * HOUR)
        assert night.outcomes[-1] == ("done", 22)
    night.tick(NIGHT + 2 * DAY + 3 * HOUR)
    assert len(night.began) == (2 if overlap == "queue" else 1)


@pytest.mark.parametrize("grace", [DAY, HOUR], ids=["within the grace", "beyond it"])
def test_a_time_that_waited_when_its_scheduler_was_killed_is_run_or_told_as_missed(
    night: Night, grace: timedelta
) -> None:
    """By how long ago it was; the run that it waited for goes on either way."""
    night.start(NIGHT - HOUR, overlap="queue", grace=grace)
    for days in range(2):
        night.tick(NIGHT + days * DAY)
    assert night.desk.state().waiting == NIGHT + DAY
    night.killed()
    night.start(NIGHT + DAY + 2 * HOUR, overlap="queue", grace=grace)
    missed = [("missed", 22)] if grace == HOUR else []
    assert night.outcomes == missed and night.desk.state().waiting == (None if missed else NIGHT + DAY)
    assert [outcome.why for outcome in night.told] == ["it waited when its scheduler ended"] * len(missed)
    night.end(NIGHT + DAY + 3 * HOUR)
    if not missed:
        night.end(NIGHT + DAY + 4 * HOUR)
    night.tick(NIGHT + DAY + 5 * HOUR)
    assert night.outcomes == [*missed, ("done", 21), *([] if missed else [("done", 22)])]
    assert night.began == ["2026-11-21T03:00:00Z"] * 2 + ([] if missed else ["2026-11-22T03:00:00Z"])
    assert night.desk.state().waiting is None


@pytest.mark.parametrize(("grace", "catches_up"), [(HOUR, True), (timedelta(0), False)])
def test_of_more_missed_times_than_are_counted_it_is_told_once_that_there_are_at_least_so_many(
    night: Night, grace: timedelta, catches_up: bool
) -> None:
    settings = {"cron": Cron("*/10 * * * *"), "grace": grace}
    later = NIGHT + 8 * DAY + timedelta(minutes=5)  # more than a thousand
    night.start(NIGHT, **settings)
    night.start(later, **settings)
    night.tick(later + timedelta(minutes=1))
    (told,) = night.told
    assert (told.state, told.times) == ("missed", MOST_COUNTED - catches_up)
    assert told.why == f"nobody ran it: at least {told.times} planned since 2026-11-22 04:30 UTC"
    assert night.began == ["2026-11-29T03:00:00Z"] * catches_up


def test_of_the_logs_of_runs_the_last_are_kept(night: Night) -> None:
    night.start(NIGHT - HOUR)
    old = [night.desk.log(NIGHT - days * DAY) for days in range(1, KEPT_LOGS + 10)]
    other = night.desk.logs / "notes.txt"
    night.desk.logs.mkdir(parents=True)
    for path in (*old, other):
        path.touch()
    night.tick(NIGHT)
    left = {*night.desk.logs.iterdir()}
    assert {night.desk.log(NIGHT), *old[: KEPT_LOGS - 1], other} <= left and left.isdisjoint(old[KEPT_LOGS:])


def test_a_run_that_fails_is_begun_again_after_growing_pauses_and_then_told(night: Night) -> None:
    night.start(NIGHT - HOUR, retries=2, pause=HOUR)
    night.tick(NIGHT)
    for began, hours in ((0, 1), (1, 3)):  # a pause of an hour, then one of two
        night.end(NIGHT + began * HOUR, code=1)
        assert night.again == NIGHT + hours * HOUR and night.told == []
        night.tick(NIGHT + hours * HOUR - timedelta(seconds=1))
        assert night.again
        night.tick(NIGHT + hours * HOUR)
    night.end(NIGHT + 3 * HOUR, code=1)
    assert night.outcomes == [("failed", 21)] and len(night.began) == 3
    assert (night.told[0].attempts, night.told[0].why) == (3, "the reason")
    night.tick(NIGHT + DAY)
    night.end(NIGHT + DAY, code=2)
    night.tick(NIGHT + DAY + HOUR)
    night.end(NIGHT + DAY + 2 * HOUR)
    assert night.outcomes[1:] == [("done", 22)] and night.told[1].attempts == 2


def test_a_run_whose_command_line_is_wrong_is_not_begun_again_and_told_at_once(night: Night) -> None:
    night.start(NIGHT - HOUR, retries=2)
    night.tick(NIGHT)
    night.end(NIGHT, code=64)
    assert night.outcomes == [("failed", 21)] and night.told[0].attempts == 1
    assert night.told[0].why == "the reason (not retried: the command line is wrong)"


@pytest.mark.parametrize("by_hand", [False, True])
def test_that_a_run_failed_and_waits_for_its_retry_is_said_also_by_the_next_scheduler(
    night: Night, by_hand: bool
) -> None:
    night.start(NIGHT - HOUR, retries=2, pause=30 * HOUR)
    night.tick(NIGHT)
    night.end(NIGHT, code=1)
    assert night.scheduler
    night.scheduler.stop()
    night.said.clear()
    night.start(NIGHT + HOUR, retries=2, pause=HOUR)
    waits = "the run of 2026-11-21 03:00 UTC failed and waits for its retry at 2026-11-22 09:00 UTC"
    assert night.said[0] == waits
    night.tick(NIGHT + DAY)
    assert [(outcome.state, outcome.why) for outcome in night.told] == [("skipped", waits)]
    night.said.clear()
    if by_hand:
        night.scheduler.stop()
        night.scheduler = Scheduler(replace(night.plan, cron=None), night.desk, night._tell, night.said.append)
        assert night.scheduler.fire(NIGHT + DAY)
    else:
        night.tick(NIGHT + 30 * HOUR)
    assert night.said == ["attempt 2 of 3 of the run of 2026-11-21 03:00 UTC begins"]
    night.end(NIGHT + 31 * HOUR)
    assert night.told[-1].attempts == 2


def test_a_run_that_was_cut_short_goes_on_and_only_when_its_process_is_gone(night: Night) -> None:
    night.start(NIGHT - HOUR)
    night.tick(NIGHT)
    assert night.began == ["2026-11-21T03:00:00Z"] and night.scheduler
    pid = int((night.folder / "began").read_text().split()[0])
    night.scheduler._lane.release()  # type: ignore[union-attr]  # as a kill does; the pipeline still has it
    killed = night.scheduler
    night.start(NIGHT + HOUR)
    assert len(night.began) == 1 and not night.told and not any("cut short" in line for line in night.said)
    os.kill(pid, signal.SIGTERM)
    killed._attempt._process.wait(10)  # type: ignore[union-attr]
    night.tick(NIGHT + 2 * HOUR)
    night.end(NIGHT + 2 * HOUR)
    assert night.began == ["2026-11-21T03:00:00Z"] * 2 and night.outcomes == [("done", 21)]


def test_a_run_by_hand_goes_on_with_one_that_was_cut_short(night: Night) -> None:
    """Whose outcome is told as that of its own time."""
    night.desk.set(going=Firing(planned=NIGHT, started=NIGHT, attempt=2))
    hand = Scheduler(replace(night.plan, cron=None), night.desk, night._tell, night.said.append)
    night.scheduler = hand
    assert hand.fire(NIGHT + HOUR) and night.began == ["2026-11-21T03:00:00Z"]
    night.end(NIGHT + HOUR)
    assert night.outcomes == [("done", 21)] and night.told[0].attempts == 2 and night.told[0].planned == NIGHT


def test_an_outcome_that_a_kill_left_untold_is_told_at_the_next_start(night: Night) -> None:
    night.start(NIGHT - HOUR, grace=HOUR)
    night.desk.set(untold=(Outcome(planned=NIGHT, ended=NIGHT, state="failed", why="before the kill"),))
    night.start(NIGHT - HOUR, grace=HOUR)
    assert [outcome.why for outcome in night.told] == ["before the kill"] and night.desk.state().untold == ()


def test_by_hand_beside_a_scheduler_there_is_one_run_at_a_time(night: Night) -> None:
    night.start(NIGHT - HOUR)
    hand, other = (
        Scheduler(replace(night.plan, cron=None), night.desk, night._tell, night.said.append) for _ in range(2)
    )
    assert hand.fire(NIGHT - HOUR) and not other.fire(NIGHT - HOUR)
    night.tick(NIGHT)
    assert night.outcomes == [("skipped", 21)]
    (night.folder / "end").write_text("0")
    until(lambda: hand.tick(NIGHT) and hand.ended)
    night.tick(NIGHT + HOUR)
    assert night.outcomes[1:] == [("done", 21)] and not hand.at_work and len(night.began) == 1
