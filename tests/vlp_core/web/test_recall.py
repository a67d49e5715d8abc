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


def test_what_was_drawn_before_it_was_taken_down_and_came_in_after_it_is_not_asked_for() -> None:
    """All that were out are looked at then: it was not among them."""
    asked = list[str]()
    looked = Event()

    class NowDown:
        reason = "taken down"

        def __init__(self) -> None:
            self.looks = 0

        def changed(self) -> bool:
            self.looks += 1
            return self.looks == 1

        def taken_down(self, urls: list[str]) -> list[bool]:
            looked.set()
            return [url.endswith("down") for url in urls]

    def links() -> Iterator[tuple[int, Link] | None]:
        yield 0, Link("http://a.test/first")
        yield None
        assert looked.wait(HANGS_S)
        yield 1, Link("http://a.test/down")

    async def told(request: web.Request) -> web.StreamResponse:
        asked.append(request.match_info["path"])
        return await body(request)

    came = dict[int, str | None]()
    with Site(told) as site:
        fetch = Fetch(resolve=(f"*.test={site.address}",), per_host_rate=0.2, honour_robots=False)
        crawl(links(), fetch, lambda key, answer: came.update({key: answer.reason}), recall=NowDown())
    assert (asked, came) == (["first"], {0: None, 1: "taken down"})
