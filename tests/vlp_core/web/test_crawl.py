import asyncio
import threading
from collections import Counter

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlp_core.web.site import Site
from vlp_core.web.crawl import Turns, crawl
from vlp_core.web.fetcher import Answer
from vlp_core.web.settings import Fetch


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_row_has_its_turn_and_no_host_more_than_its_share(hosts: list[str], per_host: int, random) -> None:
    turns, flying, seen = Turns(hosts, per_host), [], []
    while True:
        row = turns.take()
        if row is not None:
            flying.append(row)
            seen.append(row)
            assert max(Counter(hosts[row] for row in flying).values()) <= per_host
        if row is None and not flying:
            break
        if row is None or random.random() < 0.5:
            turns.give_back(flying.pop(random.randrange(len(flying))))
    assert sorted(seen) == list(range(len(hosts)))
    for host in set(hosts):
        rows = [row for row in seen if hosts[row] == host]
        assert rows == sorted(rows)


def test_a_crawl_hands_over_every_row_once_and_keeps_its_bounds() -> None:
    flying: Counter[str] = Counter()
    most: Counter[str] = Counter()
    six, four = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        for key in (request.host, "all"):
            flying[key] += 1
            most[key] = max(most[key], flying[key])
        if flying["all"] == 6:
            six.set()
        if flying["a.test"] == 4:
            four.set()
        # nobody is answered before as many are there as may be
        await asyncio.wait_for((four if request.host == "a.test" else six).wait(), 30)
        flying.subtract([request.host, "all"])
        return web.Response(body=request.match_info["path"].encode())

    got: dict[int, bytes | None] = {}
    lock = threading.Lock()

    def handle(row: int, answer: Answer) -> None:
        with lock:
            assert row not in got
            got[row] = answer.body

    with Site(handler) as site:
        urls = [f"http://{'ab'[row % 7 == 0]}.test/{row}" for row in range(80)]
        crawl(urls, Fetch(resolve=(f"*.test={site.address}",), connections=6, per_host=4), handle)
    assert got == {row: str(row).encode() for row in range(80)}
    assert (most["all"], most["a.test"], most["b.test"] <= 4) == (6, 4, True)


def test_links_that_cannot_be_read_are_rows_as_others_are() -> None:
    got: dict[int, str | None] = {}
    urls = ["http://[]@", "http://[::1", "http://b[]6@", "", "file:///1"]
    crawl(urls, Fetch(), lambda row, answer: got.update({row: answer.reason}))
    assert [got[row] for row in range(5)] == ["bad url"] * 4 + ["refused scheme"]


def test_an_error_while_handling_ends_the_crawl_as_itself() -> None:
    def handle(row: int, answer: Answer) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        crawl(["file:///1", "file:///2"], Fetch(), handle)
