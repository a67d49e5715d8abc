"""What workers tell of their progress while they fetch."""

import time
from pathlib import Path

import pytest

from jobs.fetch_crew import fetch_shards
from jobs.fetch_worker import FetchWorker, News
from tests.jobs.downloading import answer, names, settings, shards_of, write_pairs
from tests.vlp_core.web.site import Site
from vlp_core.data.layout import shard_names


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
