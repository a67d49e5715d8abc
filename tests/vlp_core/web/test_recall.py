"""Links that are taken down while others are drawn or decoded."""

import time
from collections.abc import Iterator
from threading import Event

from aiohttp import web

from tests.vlp_core.web.site import Site
from tests.waiting import HANGS_S
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link
from vlp_core.web.settings import Fetch


class AllIsDown:
    """From the first look on."""

    reason = "taken down"

    def __init__(self) -> None:
        self.noticed = Event()

    def changed(self) -> bool:
        return not self.noticed.is_set()

    def taken_down(self, urls: list[str]) -> list[bool]:
        self.noticed.set()
        return [True] * len(urls)


async def body(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"a picture")


def test_an_answer_that_waits_for_a_decoder_is_none_of_what_is_taken_down_meanwhile() -> None:
    recall, came = AllIsDown(), list[Answer]()

    def handle(_: int, answer: Answer) -> None:
        if not came:
            assert recall.noticed.wait(HANGS_S)
            time.sleep(0.5)  # until it is marked
        came.append(answer)

    with Site(body) as site:
        fetch = Fetch(resolve=(f"*.test={site.address}",), per_host_rate=0.0, threads=1, honour_robots=False)
        crawl(((number, Link(f"http://a.test/{number}")) for number in range(4)), fetch, handle, recall=recall)
    assert [(answer.body, answer.reason) for answer in came] == [(b"a picture", None)] + [(None, "taken down")] * 3


def test_it_is_looked_at_while_whoever_draws_links_waits() -> None:
    recall, noticed = AllIsDown(), list[bool]()

    def links() -> Iterator[tuple[int, Link]]:
        noticed.append(recall.noticed.wait(20))
        yield 0, Link("http://a.test/0")

    with Site(body) as site:
        fetch = Fetch(resolve=(f"*.test={site.address}",), honour_robots=False)
        crawl(links(), fetch, lambda *_: None, recall=recall)
    assert noticed == [True]
