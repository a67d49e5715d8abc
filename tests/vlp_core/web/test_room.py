"""Bodies in memory are bounded by bytes, and wait for room without waiting for one another."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.vlp_core.web.site import Site
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link
from vlp_core.web.room import Claim, Room, Young
from vlp_core.web.settings import Fetch

MB = 1_000_000


async def _read(room: Room, sizes: list[int], done: Callable[[int], None]) -> None:
    async def body(size: int) -> None:
        claim = Claim(room)
        async with asyncio.timeout(0.2) as deadline:
            for _ in range(size):
                await claim.grow(1, deadline)
                await asyncio.sleep(0)
        done(room.held)
        await asyncio.sleep(0.01)
        claim.release()

    await asyncio.gather(*map(body, sizes))


def test_bodies_that_fill_the_room_together_come_to_their_ends_in_turn() -> None:
    """Ten times what there is room for, all growing at once; waiting counts against no deadline."""
    held: list[int] = []
    room = Room(100)
    asyncio.run(_read(room, [50] * 20, held.append))
    assert len(held) == 20 and room.held == 0
    assert max(held) <= 100 + 4 * 50


def test_requests_are_sent_for_what_there_is_room_for() -> None:
    room, young = Room(100 * MB), Young()
    for _ in range(1000):
        room.ended(MB)
    assert 40 <= room.starts(0) <= 60
    claim = Claim(room)
    assert room.take(claim, 40 * MB)
    assert 5 <= room.starts(0) <= 15
    for number in range(5):
        young.sent(number, 0.0)
    young.came(0)
    assert (young.count(0.5), young.count(2.0)) == (4, 0), "those that are not answered soon leave their room to others"


@pytest.mark.parametrize("sized", [True, False])
def test_a_crawl_holds_no_more_bytes_than_it_may(sized: bool) -> None:
    """The handling thread stands still while all that may come comes, of 60 MB that are first taken for 6."""
    body = bytes(MB)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(MB)} if sized else {})
        await response.prepare(request)
        await response.write(body)
        return response

    handled: list[int] = []

    def handle(number: int, answer: Answer) -> None:
        assert answer.body == body
        if not handled:
            time.sleep(0.7)
        handled.append(number)

    with Site(handler) as site:
        fetch = Fetch(resolve=(f"*.test={site.address}",), body_bytes=8 * MB, threads=1, per_host_rate=0.0)
        tracemalloc.start()
        crawl(((number, Link(f"http://{number}.test/")) for number in range(60)), fetch, handle)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert sorted(handled) == list(range(60))
    assert peak < 30 * MB
