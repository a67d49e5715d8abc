"""Workers on a cluster: how many there are, that they share what they know of hosts, and what they tell meanwhile."""

import time
from pathlib import Path

import pytest
from aiohttp import web

from jobs.fetch_crew import cpus_of_nodes, crew_of, fetch_shards
from jobs.fetch_worker import FetchWorker, News
from tests.cluster import CPUS
from tests.jobs.downloading import answer, names, settings, shards_of, write_pairs
from tests.vlp_core.web.site import Site
from vlp_core.data.layout import shard_names
from vlp_core.web.settings import Fetch


class _Late(FetchWorker):
    """A worker that is asked for news and has much else to do."""

    def news(self) -> News:
        found = super().news()
        time.sleep(0.3)
        return found


def test_news_that_come_late_are_heard_and_leave_none_out(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker says but once that a shard is published."""
    monkeypatch.setattr("jobs.fetch_crew.FetchWorker", _Late)
    monkeypatch.setattr("jobs.fetch_crew._NEWS_S", 0.1)
    heard: list[News] = []
    with Site(answer) as site:
        lists = [[*names(range(start, start + 9)), f"dead{start}"] for start in range(0, 60, 10)]
        pairs, out = write_pairs(tmp_path / "pairs", *lists), tmp_path / "out"
        fetch = settings(site, workers=2, per_host=1, per_host_rate=40.0, threads=1)
        fetch_shards(shards_of(pairs, out), fetch, rows=60, here=False, listen=heard.append)
    for name in shard_names(pairs):
        said = [news[name] for news in heard if name in news]
        assert said == sorted(said) and said[-1] == (10, 1), name


def test_workers_ask_a_host_no_faster_together_than_one_may(cluster: str, tmp_path: Path) -> None:
    """And read its robots.txt once."""
    times: list[float] = []

    async def timed(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        return await answer(request)

    with Site(timed) as site:
        lists = [[f"dead{shard}-{row}" for row in range(10)] for shard in range(6)]
        pairs, out = write_pairs(tmp_path / "pairs", *lists), tmp_path / "out"
        fetch = settings(site, workers=2, lookahead=10, per_host_rate=30.0, threads=1)  # neither takes all shards
        fetch_shards(shards_of(pairs, out), fetch, rows=60, here=False, listen=lambda _: None)
    assert (len(times), len(site.robots_asked)) == (60, 1)
    assert times[-1] - times[0] > 0.75 * 59 / 30


@pytest.mark.parametrize(
    ("nodes", "workers", "shards", "rows", "found"),
    [
        ((6.0,), None, 99, 5000, 1),
        ((6.0,), None, 99, 5001, 2),
        ((6.0,), None, 99, 10**9, 3),
        ((6.0,), None, 2, 10**9, 2),
        ((6.0,), 2, 99, 9, 2),
        ((6.0,), 9, 99, 9, 3),
        ((6.0,), 9, 2, 9, 2),
        ((3.0, 3.0, 3.0), 9, 99, 9, 3),
        ((0.0, 1.0, 6.0), 9, 99, 9, 7),
        ((), 9, 99, 9, 1),
    ],
)
def test_there_are_no_more_workers_than_have_room_and_something_to_do(
    nodes: tuple[float, ...], workers: int | None, shards: int, rows: int, found: int
) -> None:
    """Of two threads each. One too many would wait for ever, or start for a few links."""
    assert crew_of(Fetch(workers=workers, threads=2), nodes, shards=shards, rows=rows).workers == found


def test_the_nodes_of_the_tests_cluster_have_its_cpus(cluster: str) -> None:
    assert cpus_of_nodes() == [float(CPUS)]
