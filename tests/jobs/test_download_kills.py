"""A fetch that is killed, wherever, goes on where it was: nothing is lost, and what is known is not asked again."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from jobs import download
from tests.forks import FORKS
from tests.jobs.downloading import (
    answer,
    contents,
    fetched,
    killed_publishing,
    known_paths,
    names,
    settings,
    write_pairs,
)
from tests.vlp_core.web.site import Site
from tests.waiting import until
from vlp_core.data.layout import LEDGER_FOLDER, read_shards
from vlp_core.tracker import Silent
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link

LISTS = [[*names(range(start, start + 19)), f"dead{start}"] for start in (0, 20, 40)]


async def _slowly(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.02)
    return await answer(request)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(_slowly) as site:
        yield site


def test_killed_at_any_time_it_asks_for_nothing_that_is_known(site: Site, tmp_path: Path) -> None:
    pairs, out = write_pairs(tmp_path / "pairs", *LISTS), tmp_path / "out"
    fetch = settings(site, connections=6, threads=1)
    settled: dict[str, int] = {}
    for enough in (4, 25, 45):
        process = FORKS.Process(target=fetched, args=(pairs, out, fetch))
        process.start()
        until(lambda enough=enough: len(known_paths(pairs, out)) >= enough, every_s=0.002)
        process.kill()
        process.join()
        settled = {path: site.seen[path] for path in known_paths(pairs, out)} | settled
    fetched(pairs, out, fetch)
    assert set(site.seen) == {path for paths in LISTS for path in paths}
    assert len(settled) >= 45 and {path: site.seen[path] for path in settled} == settled
    site.seen.clear()
    assert contents(fetched(pairs, tmp_path / "whole", fetch)) == contents(out)
    for folder in (out, tmp_path / "whole"):
        assert read_shards(folder / LEDGER_FOLDER, ["uid"]).equals(read_shards(pairs, ["uid"]))


@pytest.mark.parametrize("files", [0, 1, 3, 4])
def test_killed_while_it_publishes_it_asks_for_nothing(site: Site, tmp_path: Path, files: int) -> None:
    pairs, out = write_pairs(tmp_path / "pairs", LISTS[0]), tmp_path / "out"
    killed_publishing(pairs, out, settings(site), files)
    site.seen.clear()
    summary = download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent())
    assert not site.seen and summary.counts["success"] == 19
    assert not (out / "_work").exists()
    made = contents(fetched(pairs, tmp_path / "whole", settings(site)))
    assert {name: body for name, body in contents(out).items() if name != "failures.png"} == made


def test_a_picture_that_is_spoilt_meanwhile_is_asked_for_again_and_no_other(site: Site, tmp_path: Path) -> None:
    """As after a power cut, which may leave anything."""
    pairs, out = write_pairs(tmp_path / "pairs", LISTS[0]), tmp_path / "out"
    killed_publishing(pairs, out, settings(site), 0)
    with (out / "_work" / "00000" / "spill").open("r+b") as spill:
        spill.write(b"rot")
    site.seen.clear()
    fetched(pairs, out, settings(site))
    assert site.seen.total() == 1
    assert contents(out) == contents(fetched(pairs, tmp_path / "whole", settings(site)))


def test_a_worker_that_is_lost_is_replaced_and_goes_on(site: Site, tmp_path: Path, cluster: str) -> None:
    """Two share the list; what the dead one had is finished from its journals."""
    pairs, out = write_pairs(tmp_path / "pairs", *LISTS), tmp_path / "out"
    settled: set[str] = set()

    def kill_one() -> None:
        until(lambda: len(known_paths(pairs, out)) >= 20, every_s=0.002)
        settled.update(known_paths(pairs, out))
        os.kill(next(filter(None, map(_holder, out.glob("_work/*/journal")))), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary = download.run(
        pairs=pairs, fetch=settings(site, workers=2, connections=4, threads=1), out=out, tracker=Silent()
    )
    killer.join()
    assert summary.counts == {"rows": 60, "success": 57, "failed": 3, "failed/http": 3}
    assert read_shards(out)["url"].equals(read_shards(pairs)["url"])
    assert settled and {site.seen[path] for path in settled} == {1}


def _holder(file: Path) -> int | None:
    """The process that has a file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == file:
                return int(link.parts[2])
        except OSError:
            continue
    return None


def test_few_answers_wait_to_be_written_down() -> None:
    """Decoders that are slower than the web keep it waiting: what has come and is not on disk a kill would cost."""
    handled, most = 0, 0

    def handle(key: int, answer: Answer) -> None:
        nonlocal handled, most
        time.sleep(0.001)
        handled += 1
        most = max(most, site.seen.total() - handled)

    with Site(answer) as site:
        links = ((number, Link(f"http://h{number % 40}.test/dead{number}")) for number in range(1200))
        crawl(links, settings(site, threads=1, honour_robots=False), handle)
    assert handled == 1200 and most <= 128
