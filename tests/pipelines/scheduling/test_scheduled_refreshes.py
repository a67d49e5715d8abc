"""Nights of a data set that is kept alive: its list grows and rots, and its refreshes run at their times."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from pipelines.schedule import Schedule, plan_of
from pipelines.scheduling.desk import Desk
from pipelines.scheduling.scheduler import Scheduler
from pipelines.scheduling.telling import Hooks, Teller
from tests.jobs.downloading import known_paths
from tests.jobs.refreshing import changes_of, contents, ledger_of, quarantine_of, recompressed, rows_of
from tests.pipelines.conftest import PROJECT, root_with
from tests.pipelines.refreshing import PIPELINE, Data, runs
from tests.vlp_core.web.site import picture
from tests.waiting import until
from vlp_core.data.releases import newest, read

NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)


class Kept(Data):
    """A data set with a schedule whose clock is handed in; its runs are processes on the tests' cluster."""

    def __init__(self, folder: Path, store: Path) -> None:
        super().__init__(folder, store)
        self.hangs: set[str] = set()
        self.sent: Counter[tuple[str, bytes]] = Counter()
        """Bodies that were answered with, by path."""
        self.nights = -1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        while request.match_info["path"] in self.hangs:
            await asyncio.sleep(0.01)
        if request.transport is None:  # who asked was killed meanwhile
            return web.Response(status=503)
        answer = await super()._answer(request)
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes) and answer.body:
            self.sent[request.match_info["path"], answer.body] += 1
        return answer

    def schedule(self) -> None:
        """Nobody has looked after it for a minute when its first night comes."""
        settings = Schedule(cron="0 3 * * *", retries=1, retry_pause="0")
        plan = plan_of(settings, [str(PIPELINE), *self.flags()])
        self.desk = Desk(self.root, plan.name)
        teller = Teller(plan, self.desk, Hooks(print), print)
        self.scheduler = Scheduler(plan, self.desk, teller, print)
        self.scheduler.begin(NIGHT - timedelta(minutes=1))

    def falls(self) -> None:
        """The next night comes, and its refresh begins."""
        self.nights += 1
        self.asked_before = self.site.seen.copy()
        self.scheduler.tick(self.now)
        assert self.desk.state().going is not None

    def is_over(self) -> dict[str, int]:
        """Its refresh has come to its end: requests by path."""
        until(lambda: self.scheduler.tick(self.now) and self.desk.state().going is None, every_s=0.1)
        last = self.desk.state().last
        assert last is not None and last.state == "done", self.desk.log(self.now).read_text()
        return dict(self.site.seen - self.asked_before)

    @property
    def now(self) -> datetime:
        return NIGHT + timedelta(days=self.nights)

    def is_killed(self, links: int, hanging: str) -> None:
        """When all links that it asks for are known but one that hangs until another attempt asks for it."""
        self.hangs = {hanging}
        until(lambda: list(self.root.glob("download/*.partial/_work")))
        (pairs,) = (path.parent for path in self.root.glob("changes/[!.]*/changes.json"))
        (out,) = self.root.glob("download/*.partial")
        until(lambda: len(known_paths(pairs, out)) >= links - 1)
        os.kill(self.scheduler._attempt._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        until(lambda: self.scheduler.tick(self.now) and self.site.seen[hanging] == 2)
        self.hangs.clear()


@pytest.fixture
def kept(tmp_path: Path, store: Path, cluster: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    kept = Kept(tmp_path, store)
    with kept.site:
        kept.schedule()
        yield kept
        kept.scheduler.stop()


def numbered(*numbers: int) -> list[str]:
    return [f"{number}.jpg" for number in numbers]


@pytest.mark.usefixtures("handlers")
def test_three_scheduled_refreshes_of_a_list_that_grows_and_rots_hold_what_one_run_over_the_last_list_does(
    kept: Kept, tmp_path: Path, store: Path
) -> None:
    """Nothing is fetched twice and nothing lost, though one of them is killed; but for dead links, whose pictures
    stay, and those that show another picture now, which nobody knows until they are asked again: then they are taken
    where that is nearly the same, and wait in quarantine where it is not."""
    kept.pictures(*range(24))
    kept.says |= {"gone.jpg": 404, "page.jpg": b"<html>", "busy.jpg": 503, "late.jpg": 503}
    first = [*numbered(*range(14)), "gone.jpg", "page.jpg", "busy.jpg"]
    kept.lists(*first)
    kept.falls()
    assert kept.is_over() == dict.fromkeys(first, 1)

    kept.says |= {"0.jpg": 404, "busy.jpg": picture(80, 60, seed=77)}
    kept.says |= {"3.jpg": recompressed(picture(80, 60, seed=3)), "4.jpg": picture(80, 60, seed=99)}
    more = {"2.jpg": ["text of 2.jpg", "and another"]}
    second = [*first, *numbered(*range(14, 20)), "late.jpg"]
    second.remove("1.jpg")
    kept.lists(*second, captions=more)
    kept.falls()
    tonight = dict.fromkeys([*numbered(*range(14, 20)), "late.jpg", "busy.jpg"], 1)
    kept.is_killed(len(tonight), "17.jpg")
    assert kept.is_over() == tonight | {"17.jpg": 2}, "what had not answered when it was killed"
    release = read(kept.root, "photos", 2)
    added = dict.fromkeys([*numbered(*range(14, 20)), "busy.jpg"], "added")
    assert changes_of(release) == added | {"1.jpg": "removed", "2.jpg": "captions"}

    kept.says |= {"late.jpg": picture(80, 60, seed=78), "15.jpg": 410, "other.jpg": picture(80, 60, seed=5)}
    third = [path for path in [*numbered(23, 22), *second, "other.jpg"] if path != "5.jpg"]
    kept.lists(*third, captions=more)
    kept.falls()
    assert kept.is_over() == dict.fromkeys(["22.jpg", "23.jpg", "late.jpg", "other.jpg"], 1)
    last = newest(kept.root, "photos")
    assert last is not None and last.number == 3 and set(kept.sent.values()) == {1}
    assert [len(contents(read(kept.root, "photos", number))) for number in (1, 2)] == [14, 20]
    told = runs(kept.root, "schedules", "tags.`vlp.state` = 'done'")
    assert [run.data.metrics["attempts"] for run in told] == [1, 2, 1]
    assert all("vlp.pipeline_run" in run.data.tags for run in told)

    kept.sent.clear()
    fresh = root_with(store, tmp_path / "fresh")
    assert kept.main(root=fresh) == 0
    one = newest(fresh, "photos")
    assert one is not None
    whole, held, dead, others = contents(one), contents(last), {"0.jpg", "15.jpg"}, {"3.jpg", "4.jpg"}
    assert held.keys() == whole.keys() | dead and not dead & whole.keys()
    assert {path: held[path] for path in whole if path not in others} == {
        path: whole[path] for path in whole if path not in others
    }
    assert rows_of(last).keys() == ledger_of(last).keys() == rows_of(one).keys() == set(third)

    kept.sent.clear()
    assert kept.main("--recheck-days", "0") == 0
    after = read(kept.root, "photos", 4)
    assert changes_of(after) == {"3.jpg": "changed", "4.jpg": "quarantined"}
    assert {path for path, _ in kept.sent} == others, "fetched, though it is as it was"
    assert {path: found for path, found in contents(after).items() if path not in dead} == {
        path: found for path, found in whole.items() if path != "4.jpg"
    }
    assert quarantine_of(after).keys() == {"4.jpg"}
