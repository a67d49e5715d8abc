"""One book of hosts for all downloads of a cluster that ask hosts in the same way."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jobs.fetch_crew import fetch_shards
from jobs.host_book import NAMESPACE, HostBook, There, name_of_book
from tests.jobs.downloading import answer, settings, shards_of, write_pairs
from tests.vlp_core.web.site import Site
from tests.waiting import until
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import Ask, Asked

DOWNLOADS, LINKS = ("pairs", "retrieval"), 30


def books() -> list[str]:
    import ray

    return [book["name"] for book in ray.util.list_named_actors(all_namespaces=True) if book["namespace"] == NAMESPACE]


@dataclass(frozen=True)
class Timed:
    """A site that keeps the time of each request, and the flags to ask it at 20 a second."""

    site: Site
    times: list[float]
    fetch: Fetch


@pytest.fixture
def slowly(cluster: str) -> Iterator[Timed]:
    """Its book is there from before the first of them to after the last, however late each begins."""

    times: list[float] = []

    async def timed(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        return await answer(request)

    with Site(timed) as site:
        fetch = settings(site, workers=1, per_host_rate=20.0, threads=1)
        book = There(fetch)
        asyncio.run(book.tell([]))
        yield Timed(site, times, fetch)
        book.leave()
        until(lambda: name_of_book(fetch) not in books())


def downloads(folder: Path, fetch: Fetch) -> list[threading.Thread]:
    """Two at once, with links of one host, as the list and an evaluation set of it may have."""
    begun = []
    for name in DOWNLOADS:
        pairs = write_pairs(folder / name, [f"dead-{name}-{row}" for row in range(LINKS)])
        shards, words = shards_of(pairs, folder / f"{name}-out"), {"rows": LINKS, "here": False}
        begun.append(threading.Thread(target=fetch_shards, args=(shards, fetch), kwargs=words | {"listen": _ignore}))
        begun[-1].start()
    return begun


def _ignore(_: Any) -> None:
    pass


def test_downloads_at_once_ask_a_host_no_faster_together_than_one_may(
    cluster: str, slowly: Timed, tmp_path: Path
) -> None:
    """Each has a fetcher of its own."""
    for download in downloads(tmp_path, slowly.fetch):
        download.join()
    assert len(slowly.times) == 2 * LINKS
    assert slowly.times[-1] - slowly.times[0] > 0.75 * (2 * LINKS - 1) / 20, "each by itself would take half of that"
    assert name_of_book(slowly.fetch) in books()


def test_a_book_that_is_lost_begins_anew_for_all_of_them(cluster: str, slowly: Timed, tmp_path: Path) -> None:
    import ray

    both = downloads(tmp_path, slowly.fetch)
    until(lambda: len(slowly.times) > LINKS / 2)
    ray.kill(ray.get_actor(name_of_book(slowly.fetch), NAMESPACE))
    for download in both:
        download.join()
    asked = {path: times for path, times in slowly.site.seen.items() if "dead" in path}
    assert len(asked) == 2 * LINKS and set(asked.values()) == {1}, "what was answered is not asked again"


def test_what_a_host_asked_for_holds_from_one_download_to_the_next(cluster: str) -> None:
    """Retry-After is for whoever comes, also when its first asker has ended."""
    import ray

    fetch = Fetch(per_host=78)
    first, second = There(fetch), There(fetch)
    ask = Ask(host="patient.test", origin="http://patient.test", lookup=False, robots=False)

    async def paused() -> bool:
        (grant,) = await first.ask([ask])
        await first.tell([Asked(ask.host, ask.origin, grant.leases[0], "busy", retry_after_s=300.0)])
        first.leave()
        (grant,) = await second.ask([ask])
        return not grant.leases

    assert asyncio.run(paused())
    ray.kill(ray.get_actor(name_of_book(fetch), NAMESPACE))


def test_a_book_ends_that_nobody_asks_any_more(cluster: str) -> None:
    """Its download was killed, and so could not leave."""
    import ray

    kind: Any = ray.remote(num_cpus=0)(HostBook)
    actor = kind.remote(Fetch(), idle_s=0.5)
    actor.join.remote("killed")

    def gone() -> bool:
        try:
            ray.get(actor.tell.remote([]))
        except ray.exceptions.RayActorError:
            return True
        return False

    until(gone, every_s=2.0)


def test_what_is_not_asked_in_the_same_way_has_a_book_of_its_own() -> None:
    same = (Fetch(), Fetch(threads=1, workers=3, image_size=64, contact="https://example.org"))
    other = (Fetch(per_host_rate=1.0), Fetch(user_agent="other"), Fetch(resolve=("*.test=127.0.0.1:1",)))
    assert len({name_of_book(fetch) for fetch in same}) == 1
    assert len({name_of_book(fetch) for fetch in (*same, *other)}) == 4


def test_leaving_where_there_is_no_book_starts_none(cluster: str) -> None:
    fetch = Fetch(per_host=77)
    There(fetch).leave()
    assert name_of_book(fetch) not in books()
