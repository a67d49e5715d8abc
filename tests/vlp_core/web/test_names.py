"""Look-ups against a name server on loopback: once a host, none that hangs in the way of others."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from tests.vlp_core.web.fetching import BODY, always, get_all
from tests.vlp_core.web.site import Canary, Site
from vlp_core.miniature.names import NameServer, Says, Zone
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link
from vlp_core.web.settings import Fetch


@contextmanager
def name_server(zone: Zone) -> Iterator[tuple[str, Counter[str]]]:
    """A name server in a thread: its address, and the questions it is asked, by name."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server, address = asyncio.run_coroutine_threadsafe(NameServer.start(zone), loop).result(10)
        yield address, server.asked
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_each_name_is_looked_up_once_and_names_that_hang_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred hang: more than may be asked for at once."""
    monkeypatch.setattr("vlp_core.web.resolver._MOST_S", 0.4)

    def zone(name: str) -> str | Says:
        return Says.NOTHING if name.startswith("hangs") else "127.0.0.1"

    with Site(always()) as site, name_server(zone) as (address, asked):
        hosts = [f"hangs{n}.example" for n in range(300)] + [f"{n % 50}.example" for n in range(200)]
        links = [Link(f"http://{host}:{site.port}/{n}") for n, host in enumerate(hosts)]
        came: dict[int, Answer] = {}
        fetch = Fetch(nameservers=(address,), allow_private=("127.0.0.1",), per_host_rate=0.0)
        crawl(enumerate(links), fetch, came.__setitem__)
    assert [came[number].reason for number in range(500)] == ["name server does not answer"] * 300 + [None] * 200
    assert {came[number].body for number in range(300, 500)} == {BODY}
    assert set(asked.values()) == {1} and len(asked) == 350
    order = list(came)
    assert max(map(order.index, range(300, 500))) < max(map(order.index, range(300))), "they were not waited for"


@pytest.mark.parametrize(
    ("says", "reason", "questions"),
    [
        (Says.NO_SUCH_NAME, "name not found", 1),
        (Says.BUSY, "name not found", 2),
        *[(address, "refused address", 1) for address in ("127.0.0.2", "::1", "64:ff9b::7f00:2", "2002:7f00:2::1")],
    ],
)
def test_what_a_name_server_says_is_believed(
    says: Says | str, reason: str, questions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALDOMAIN", "inside.example")
    with name_server(lambda _: says) as (address, asked):
        links = [Link(f"http://no.a.example/{n}") for n in range(3)]
        answers = get_all(links, nameservers=(address,), retries=1)
    assert [answer.reason for answer in answers] == [reason] * 3
    assert asked["no.a.example"] >= questions and set(asked) == {"no.a.example"}, "no search domain is tried"


def test_a_picture_comes_from_a_name_that_has_an_ipv6_address_alone() -> None:
    with Canary("::1"), Site(always(), host="::1") as site, name_server(lambda _: "::1") as (address, _):
        link = Link(f"http://six.example:{site.port}/")
        assert get_all([link], nameservers=(address,), allow_private=("::1",))[0].body == BODY


def test_a_redirect_to_a_name_that_leads_inwards_is_refused() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"http://{request.path[1:]}:{canary.port}/"})

    zone = {"six.example": "2002:7f00:2::1", "four.example": "127.0.0.2"}
    with Canary("127.0.0.2") as canary, Site(handler) as site:
        with name_server(lambda name: zone.get(name, Says.NO_SUCH_NAME)) as (address, asked):
            links = [Link(site.url(name)) for name in zone]
            answers = get_all(links, nameservers=(address,), allow_private=(site.address,))
        assert not canary.disturbed()
    assert [answer.reason for answer in answers] == ["refused address"] * 2
    assert set(asked) == set(zone) and site.seen.total() == 2
