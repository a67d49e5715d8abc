"""The schedules of a root, as `--list` says them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.scheduling import listing
from pipelines.scheduling.desk import Desk, Firing, Outcome
from pipelines.scheduling.listing import lines
from pipelines.workflow.lock import Lock

NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)
RUN = "the run of 2026-11-21 03:00 UTC"
LEFT = "; the next scheduler, or --once, of this name goes on with it"


@pytest.mark.parametrize("cron", ["0 3 * * *", ""], ids=["on a schedule", "by hand"])
@pytest.mark.parametrize(
    ("held", "fails", "said"),
    [
        (True, False, "going since 2026-11-21 03:02 UTC"),
        (False, False, f"{RUN} was cut short{LEFT}"),
        (True, True, f"{RUN} failed and waits for its retry at 2026-11-21 04:00 UTC"),
        (False, True, f"{RUN} failed and waits for its retry at 2026-11-21 04:00 UTC{LEFT}"),
    ],
)
def test_a_run_is_going_only_where_somebody_works_at_it(
    cron: str, held: bool, fails: bool, said: str, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, "photos")
    again = NIGHT + timedelta(hours=1) if fails else None
    desk.set(cron=cron, timezone="UTC", going=Firing(planned=NIGHT, started=NIGHT + timedelta(minutes=2), again=again))
    lane = desk.lane
    assert lane.take()
    if not held:
        lane.release()
    begins = "photos: '0 3 * * *' UTC · its scheduler does not run" if cron else "photos: by hand"
    assert list(lines(tmp_path, NIGHT)) == [f"{begins} · {said}"]


def test_a_run_that_ends_between_two_looks_was_not_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is read, it ends and lets go of the lane, and the lane is looked at: in that order."""
    desk = Desk(tmp_path, "photos")
    going = Firing(planned=NIGHT, started=NIGHT + timedelta(minutes=2))
    desk.set(cron="", timezone="UTC", going=going)
    looked = listing._is_held

    def ends(lock: Lock) -> bool:
        monkeypatch.setattr(listing, "_is_held", looked)
        desk.set(going=None, last=Outcome(planned=NIGHT, ended=NIGHT, state="done"))
        return looked(lock)

    monkeypatch.setattr(listing, "_is_held", ends)
    assert list(lines(tmp_path, NIGHT)) == ["photos: by hand · last 2026-11-21 03:00 UTC done"]
