"""Many links at once, against a real server on loopback."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.vlp_core.web.fetching import BODY, always, get_all, nobody
from tests.vlp_core.web.site import Canary, Site
from tests.waiting import HANGS_S
from vlp_core.web.crawl import crawl
from vlp_core.web.descriptors import Connections
from vlp_core.web.link import Answer, Link
from vlp_core.web.robots import MOST_RULES
from vlp_core.web.settings import Fetch


def test_a_crawl_hands_over_every_link_once_and_keeps_its_bounds() -> None:
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

    got: dict[str, bytes | None] = {}
    lock = threading.Lock()

    def handle(key: str, answer: Answer) -> None:
        with lock:
            assert key not in got
            got[key] = answer.body

    with Site(handler) as site:
        links = ((f"row {row}", Link(f"http://{'ab'[row % 7 == 0]}.test/{row}")) for row in range(80))
        fetch = Fetch(resolve=(f"*.test={site.address}",), connections=6, per_host=4, per_host_rate=0.0)
        crawl(links, fetch, handle)
    assert got == {f"row {row}": str(row).encode() for row in range(80)}
    assert (most["all"], most["a.test"], most["b.test"] <= 4) == (6, 4, True)


class Done:
    """How many links have come with a picture."""

    def __init__(self) -> None:
        self.count = 0

    def handle(self, _: int, answer: Answer) -> None:
        assert answer.body == BODY
        self.count += 1


def test_a_hosts_links_use_the_connection_that_is_open_to_it_before_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each costs as much as a request, and with TLS more than a picture. A turn of all hosts takes longer than one is
    kept."""
    connections = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        connections.add(request.transport.get_extra_info("peername"))
        await asyncio.sleep(0.05)
        return web.Response(body=BODY)

    hosts, each, done = 100, 3, Done()
    monkeypatch.setattr("vlp_core.web.crawl.connections_for", lambda _: Connections(at_once=8, kept_s=0.3))
    with Site(handler) as site:
        links = ((number, Link(f"http://host{number % hosts}.test/{number}")) for number in range(each * hosts))
        crawl(links, Fetch(resolve=(f"*.test={site.address}",), per_host_rate=0.0), done.handle)
    assert done.count == each * hosts
    assert len(connections) < 1.5 * hosts


def test_links_are_drawn_as_others_are_finished() -> None:
    """So that a list of any length takes no memory, and the next shard begins while the last one waits."""
    done = Done()
    drawn, furthest = 0, 0

    def links() -> Iterator[tuple[int, Link]]:
        nonlocal drawn, furthest
        for number in range(200):
            drawn += 1
            furthest = max(furthest, drawn - done.count)
            yield number, Link(f"http://a.test/{number}")

    with Site(always()) as site:
        fetch = Fetch(resolve=(f"*.test={site.address}",), lookahead=20, threads=1, per_host_rate=0.0)
        crawl(links(), fetch, done.handle)
    assert done.count == 200 and 2 <= furthest <= 21


def test_a_source_that_has_no_link_for_now_is_drawn_from_when_one_is_done() -> None:
    done = Done()

    def links() -> Iterator[tuple[int, Link] | None]:
        for number in range(30):
            while number - done.count >= 3:
                yield None
            yield number, Link(f"http://a.test/{number}")

    with Site(always()) as site:
        crawl(links(), Fetch(resolve=(f"*.test={site.address}",), threads=1, per_host_rate=0.0), done.handle)
    assert done.count == 30


def test_links_go_past_hosts_that_keep_silent_or_must_wait() -> None:
    """One host does not answer until the others' links have ended, one asks for patience."""
    others, ended = {f"{number}.test" for number in range(100)}, list[str]()
    rest = threading.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.host == "silent.test":
            await asyncio.to_thread(rest.wait, HANGS_S)
        if request.host == "busy.test":
            return web.Response(status=429, headers={"Retry-After": "1"})
        return web.Response(body=BODY)

    with Site(handler) as site:
        hosts = ["silent.test", "busy.test"] * 2 + sorted(others)
        resolve = (f"*.test={site.address}",)
        fetch = Fetch(resolve=resolve, deadline_s=2 * HANGS_S, retries=0, pause_s=0.01, connections=10)

        def handle(host: str, _: Answer) -> None:
            ended.append(host)
            if others <= set(ended):
                rest.set()

        crawl(((host, Link(f"http://{host}/x")) for host in hosts), fetch, handle)
    assert sorted(ended) == sorted(hosts) and others <= set(ended[: ended.index("silent.test")])


def test_nobody_waits_twice_for_a_host_that_is_not_there() -> None:
    """A name without addresses, a closed port, a host that takes the connection and says nothing."""
    asked: Counter[str] = Counter()
    silent: Counter[str] = Counter()

    def lookup(host: str) -> list[str]:
        asked[host] += 1
        return nobody(host) if host == "nameless.example" else ["127.0.0.1"]

    async def handler(request: web.Request) -> web.StreamResponse:
        silent[request.path] += 1
        await asyncio.sleep(1)
        return web.Response()

    with Canary("127.0.0.1") as closed:
        refusing = closed.port
    with Site(handler) as site:
        site.robots = None
        urls = [f"http://nameless.example/{n}" for n in range(20)]
        urls += [f"http://closed.example:{refusing}/{n}" for n in range(20)]
        urls += [f"http://silent.example:{site.port}/{n}" for n in range(20)]
        answers = get_all(list(map(Link, urls)), lookup=lookup, allow_private=("127.0.0.1",), deadline_s=0.3)
    reasons = [answer.reason for answer in answers]
    assert reasons == ["name not found"] * 20 + ["no connection"] * 20 + ["time-out"] * 20
    assert set(asked.values()) == {1} and len(asked) == 3
    assert silent == {"/robots.txt": 2}


def test_links_that_are_forbidden_hold_nobody_up() -> None:
    """Though their robots.txt has as many rules as it may, and all are looked at for each of them."""
    rules = "".join(f"Disallow: /*{number}z\n" for number in range(MOST_RULES - 1))
    ended, order = threading.Event(), []

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt":
            return web.Response(text=f"User-agent: *\nDisallow: /\n{rules}" if request.host == "a.test" else "")
        await asyncio.to_thread(ended.wait, 10)
        return web.Response(body=BODY)

    def handle(host: str, _: Answer) -> None:
        order.append(host)
        if host == "a":
            ended.set()

    with Site(handler) as site:
        site.robots = None
        links = ((host, Link(f"http://{host}.test/{number}")) for number, host in enumerate(["b", *["a"] * 100]))
        crawl(links, Fetch(resolve=(f"*.test={site.address}",), threads=1, per_host_rate=0.0), handle)
    assert len(order) == 101 and order[-1] == "a"


@pytest.mark.parametrize("delay", ["86400", "1e300"])
def test_a_crawl_delay_beyond_all_patience_does_not_hold_up_the_end(delay: str) -> None:
    both, reasons = threading.Event(), []

    def links() -> Iterator[tuple[int, Link]]:
        for number in range(2):
            yield number, Link(f"http://a.test/{number}")
        assert both.wait(30), f"after 30 s {len(reasons)} links have an answer"

    def handle(_: int, answer: Answer) -> None:
        reasons.append(answer.reason)
        if len(reasons) == 2:
            both.set()

    with Site(always()) as site:
        site.robots = 200, f"User-agent: *\nCrawl-delay: {delay}".encode()
        crawl(links(), Fetch(resolve=(f"*.test={site.address}",), lookahead=2, threads=1), handle)
    assert sorted(reasons, key=str) == [None, "robots.txt: crawl delay"]


def test_no_host_is_asked_faster_than_its_limit_whatever_for() -> None:
    """robots.txt, links, redirects and further attempts count alike."""
    times: dict[str, list[float]] = {"a.test": [], "b.test": []}

    async def handler(request: web.Request) -> web.StreamResponse:
        times[request.host].append(time.monotonic())
        if request.path == "/away":
            return web.Response(status=302, headers={"Location": "http://b.test/here"})
        if request.path == "/again" and len(times["a.test"]) < 4:
            return web.Response(status=500)
        return web.Response(body=b"" if request.path == "/robots.txt" else BODY)

    with Site(handler) as site:
        site.robots = None
        links = [Link(f"http://a.test/{path}") for path in ["away", "again", "1", "2"] * 3]
        answers = get_all(links, resolve=(f"*.test={site.address}",), per_host_rate=20.0)
    assert [answer.body for answer in answers] == [BODY] * 12
    for host, least in (("a.test", 13), ("b.test", 4)):
        span = times[host][-1] - times[host][0]
        assert len(times[host]) >= least and span >= (len(times[host]) - 1) / 20 - 0.02


def test_an_error_while_handling_ends_the_crawl_as_itself_and_at_once() -> None:
    """Though links without end and hosts that keep silent are on their way."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(2 * HANGS_S if request.host == "silent.test" else 0)
        return web.Response(body=BODY)

    def handle(_: int, answer: Answer) -> None:
        raise OSError(28, "No space left on device")

    with Site(handler) as site:
        hosts = (("silent", "loud")[number % 2] for number in itertools.count())
        links = enumerate(Link(f"http://{host}.test/") for host in hosts)
        fetch = Fetch(resolve=(f"*.test={site.address}",), lookahead=100, deadline_s=2 * HANGS_S)
        with pytest.raises(OSError, match="No space left"):
            crawl(links, fetch, handle)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("decode", "links"))]


def test_an_error_while_drawing_ends_the_crawl_as_itself() -> None:
    def links() -> Iterator[tuple[int, Link]]:
        yield 0, Link("file:///1")
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        crawl(links(), Fetch(), lambda *_: None)


def test_links_that_cannot_be_read_are_rows_as_others_are() -> None:
    got: dict[int, str | None] = {}
    urls = ["http://[]@", "http://[::1", "http://b[]6@", "", "file:///1"]
    crawl(enumerate(map(Link, urls)), Fetch(), lambda row, answer: got.update({row: answer.reason}))
    assert [got[row] for row in range(5)] == ["bad url"] * 4 + ["refused scheme"]
