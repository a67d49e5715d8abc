"""The fetcher against a real server on loopback, and canaries that must see nobody."""

import asyncio
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from tests.vlp_core.web.site import Canary, Handler, Site, picture
from vlp_core.web.fetcher import Answer, Fetcher
from vlp_core.web.reasons import UNFORESEEN, class_of
from vlp_core.web.settings import Fetch

BODY = picture()


def get(url: str, *, lookup: Callable[[str], list[str]] | None = None, **settings: Any) -> Answer:
    """One link with quick settings; its reason, where it fails, is one that is counted in a class."""

    async def once() -> Answer:
        fetch = Fetch(**{"pause_s": 0.01, "deadline_s": 5.0, **settings})
        async with Fetcher(fetch, **({"lookup": lookup} if lookup else {})) as fetcher:
            return await fetcher.get(url)

    answer = asyncio.run(once())
    assert answer.reason is None or class_of(answer.reason) != UNFORESEEN
    return answer


def always(body: bytes = BODY, **options: Any) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, **options)

    return handler


def redirecting(*targets: str) -> Handler:
    """`/` leads to the first target; `/1`, `/2`, … to the next ones; elsewhere is the picture."""

    async def handler(request: web.Request) -> web.StreamResponse:
        step = (
            int(request.match_info["path"] or 0) if request.match_info["path"] in ("", *"123456789") else len(targets)
        )
        if step < len(targets):
            return web.Response(status=302, headers={"Location": targets[step]})
        return web.Response(body=BODY)

    return handler


def test_a_picture_comes_as_it_is() -> None:
    with Site(always()) as site:
        answer = get(site.url("a.jpg"), allow_private=(site.address,))
    assert answer == Answer(body=BODY, http_status=200, final_url=site.url("a.jpg"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "refused scheme"),
        ("data:image/png;base64,AAAA", "refused scheme"),
        ("ftp://example.org/a.jpg", "refused scheme"),
        ("javascript:alert(1)", "refused scheme"),
        ("/a.jpg", "bad url"),
        ("", "bad url"),
        ("http://", "bad url"),
        ("http://[::1/a.jpg", "bad url"),
        ("http://[]@", "bad url"),
        ("http://b[]6@", "bad url"),
        ("http://a.example:99999/", "bad url"),
        ("http://" + "a" * 70 + ".example/", "name not found"),
    ],
)
def test_only_whole_http_links_are_taken(url: str, reason: str) -> None:
    assert get(url, lookup=lambda _: []).reason == reason


@pytest.mark.parametrize(
    "host", ["[::1%25%25]", "[::1%]", "[::ffff:0177.0.0.1]", "[::1%25%25]:{port}", "256.1.1.1", "127.0.0.0.1", "0..1"]
)
def test_what_only_looks_like_an_address_passes_no_check_unseen(host: str) -> None:
    """A client takes it for an address, so that it is not looked up; we cannot read it as one."""
    with Canary("::1") as canary:
        assert get(f"http://{host.format(port=canary.port)}/", lookup=lambda _: ["::1"]).reason == "bad url"
        assert not canary.disturbed()


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "127.0.2", "2130706434", "0x7f000002", "0177.0.0.2", "127.0.0.2.", "[::ffff:127.0.0.2]"]
)
def test_a_private_address_in_a_link_is_refused_in_every_spelling(host: str) -> None:
    with Canary("127.0.0.2") as canary:
        assert get(f"http://{host}:{canary.port}/").reason == "refused address"
        assert not canary.disturbed()


@pytest.mark.parametrize("host", ["::1", "0.0.0.0"])
def test_loopback_by_another_name_is_refused(host: str) -> None:
    with Canary(host) as canary:
        assert get(f"http://{f'[{host}]' if ':' in host else host}:{canary.port}/").reason == "refused address"
        assert not canary.disturbed()


@pytest.mark.parametrize("found", [["127.0.0.2"], ["::ffff:127.0.0.2"], ["127.0.0.2", "10.0.0.1"]])
def test_a_name_that_leads_to_a_private_address_is_refused(found: list[str]) -> None:
    with Canary("127.0.0.2") as canary:
        answer = get(f"http://innocent.example:{canary.port}/", lookup=lambda _: found)
        assert answer.reason == "refused address"
        assert not canary.disturbed()


def test_localhost_is_refused_by_the_systems_own_lookup() -> None:
    with Canary("127.0.0.1") as canary:
        assert get(f"http://localhost:{canary.port}/").reason == "refused address"
        assert not canary.disturbed()


def test_of_a_names_addresses_only_the_allowed_are_connected_to() -> None:
    with Site(always()) as site, Site(always(), host="127.0.0.2") as other:
        answer = get(
            f"http://both.example:{site.port}/",
            lookup=lambda _: ["127.0.0.2", "127.0.0.1"],
            allow_private=("127.0.0.1",),
        )
        assert answer.body == BODY
        assert (site.seen.total(), other.seen.total()) == (1, 0)


def test_a_name_is_looked_up_once_and_connected_to_where_it_was_found() -> None:
    """A name that answers another address the second time gains nothing by it."""
    calls: list[str] = []

    def rebinding(host: str) -> list[str]:
        calls.append(host)
        return ["127.0.0.1" if len(calls) == 1 else "127.0.0.2"]

    with Site(always()) as site:
        answer = get(f"http://rebinding.example:{site.port}/", lookup=rebinding, allow_private=("127.0.0.1",))
    assert (answer.body, calls) == (BODY, ["rebinding.example"])


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.2:{port}/", "refused address"),
        ("//127.0.0.2:{port}/", "refused address"),
        ("http://[::ffff:127.0.0.2]:{port}/", "refused address"),
        ("http://innocent.example:{port}/", "refused address"),
        ("http://[]@", "bad url"),
        ("file:///etc/passwd", "refused scheme"),
        ("gopher://127.0.0.2:{port}/", "refused scheme"),
    ],
)
def test_a_redirect_is_checked_as_the_first_hop_was(location: str, reason: str) -> None:
    with Canary("127.0.0.2") as canary, Site(redirecting("/1", location.format(port=canary.port))) as site:
        answer = get(site.url(""), allow_private=(site.address,), lookup=lambda _: ["127.0.0.2"])
        assert (answer.reason, site.seen.total()) == (reason, 2)
        assert not canary.disturbed()


def test_redirects_are_followed_to_the_end_and_the_end_is_kept() -> None:
    with Site() as site:
        site.handler = redirecting("/1", "2", f"//{site.address}/a b.jpg")
        answer = get(site.url(""), allow_private=(site.address,))
    assert (answer.body, answer.final_url) == (BODY, site.url("a%20b.jpg"))


@pytest.mark.parametrize(("limit", "requests"), [(0, 1), (3, 4)])
def test_redirects_in_a_ring_end_at_the_limit(limit: int, requests: int) -> None:
    with Site(redirecting("/1", "/")) as site:
        answer = get(site.url(""), allow_private=(site.address,), max_redirects=limit)
    assert (answer.reason, site.seen.total()) == ("too many redirects", requests)


def test_a_mapped_name_is_served_by_the_address_named_for_it_and_keeps_its_host() -> None:
    with Site(always()) as site:
        resolve = (f"*.test={site.address}",)
        urls = ["http://a.test/x.jpg", "http://A.TEST:8080/x.jpg", "http://b.test./x.jpg"]
        answers = [get(url, resolve=resolve, lookup=lambda _: []) for url in urls]
    assert [answer.body for answer in answers] == [BODY] * 3
    assert site.hosts[:2] == ["a.test", "a.test:8080"]
    assert answers[0].final_url == urls[0]


@pytest.mark.parametrize("target", ["http://{address}/1", "http://localhost:{port}/1", "http://127.1:{port}/1"])
def test_a_mapped_name_opens_no_way_to_its_address_by_redirect(target: str) -> None:
    with Site() as site:
        site.handler = redirecting(target.format(address=site.address, port=site.port))
        answer = get("http://a.test/", resolve=(f"*.test={site.address}",))
    assert (answer.reason, site.seen.total()) == ("refused address", 1)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Canary("127.0.0.2") as canary, Site(always()) as site:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.2:{canary.port}")
        assert get(site.url("a"), allow_private=(site.address,)).body == BODY
        assert not canary.disturbed()


def test_a_cookie_is_not_carried_to_the_next_link() -> None:
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(body=BODY, headers={"Set-Cookie": "you=known"})

    async def twice() -> None:
        async with Fetcher(Fetch(resolve=(f"*.test={site.address}",))) as fetcher:
            await fetcher.get("http://a.test/1")
            await fetcher.get("http://a.test/2")

    with Site(handler) as site:
        asyncio.run(twice())
    assert cookies == [None, None]


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"\xff")
        await asyncio.sleep(0.05)
    return response


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(65536))


async def _slow_hops(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.15)
    return web.Response(status=302, headers={"Location": "/" + "x" * (1 + len(request.match_info["path"]))})


@pytest.mark.parametrize("handler", [_drip, _slow_hops])
def test_the_deadline_holds_for_all_of_an_attempt(handler: Handler) -> None:
    with Site(handler) as site:
        answer = get(site.url(""), allow_private=(site.address,), deadline_s=0.4, retries=0, max_redirects=50)
    assert (answer.body, answer.reason) == (None, "time-out"), "left alone, it ends as a body or in too many redirects"


@pytest.mark.parametrize(("deadline", "most"), [(0.3, 3), (30.0, 1)])
def test_the_budget_holds_for_all_attempts(deadline: float, most: int) -> None:
    with Site(_drip) as site:
        answer = get(site.url(""), allow_private=(site.address,), deadline_s=deadline, budget_s=0.8, retries=50)
    assert answer.reason == "time-out" and 1 <= answer.attempts <= most


def test_an_endless_body_is_left_at_the_cap() -> None:
    with Site(_endless) as site:
        answer = get(site.url(""), allow_private=(site.address,), max_bytes=300_000)
    assert (answer.body, answer.reason) == (None, "too many bytes")


@pytest.mark.parametrize(("cap", "reason"), [(len(BODY), None), (len(BODY) - 1, "too many bytes")])
def test_the_cap_is_the_largest_body_that_is_taken(cap: int, reason: str | None) -> None:
    with Site(always()) as site:
        assert get(site.url(""), allow_private=(site.address,), max_bytes=cap).reason == reason


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (gzip.compress(BODY), "gzip", None),
        (zlib.compress(BODY), "deflate", None),
        (BODY, "identity", None),
        (gzip.compress(bytes(50_000_000)), "gzip", "too many bytes"),
        (gzip.compress(BODY)[:-20], "gzip", "broken encoding"),
        (gzip.compress(BODY) + bytes(900_000), "gzip", "broken encoding"),  # zlib would keep all that follows
        (gzip.compress(BODY) + bytes(2_000_000), "gzip", "too many bytes"),
        (BODY, "gzip", "broken encoding"),
        (BODY, "br", "unknown encoding"),
    ],
)
def test_a_compressed_body_is_inflated_within_the_cap(body: bytes, encoding: str, reason: str | None) -> None:
    with Site(always(body, headers={"Content-Encoding": encoding})) as site:
        answer = get(site.url(""), allow_private=(site.address,), max_bytes=1_000_000)
    assert answer.reason == reason
    assert answer.body == (None if reason else BODY)


@pytest.mark.parametrize("cut", [None, 0, 20], ids=["one piece", "cut at the end", "cut after it"])
@pytest.mark.parametrize(
    ("tail", "reason"),
    [(b"", None), (bytes(40), "broken encoding"), (gzip.compress(b"a further member"), "broken encoding")],
    ids=["nothing more", "zeros", "a member"],
)
def test_how_a_compressed_body_is_cut_on_its_way_decides_nothing(tail: bytes, reason: str, cut: int | None) -> None:
    whole = gzip.compress(BODY) + tail
    at = len(whole) if cut is None else len(whole) - len(tail) + cut

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        for piece in (whole[:at], whole[at:]):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    with Site(handler) as site:
        assert get(site.url(""), allow_private=(site.address,)).reason == reason


def test_a_compressed_bomb_takes_no_memory_beyond_the_cap() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    with Site(always(bomb, headers={"Content-Encoding": "gzip"})) as site:
        tracemalloc.start()
        answer = get(site.url(""), allow_private=(site.address,), max_bytes=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.reason == "too many bytes"
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("status", "requests"), [(429, 3), (500, 3), (503, 3), (404, 1), (410, 1), (403, 1), (400, 1), (304, 1), (204, 1)]
)
def test_only_answers_that_may_change_are_asked_for_again(status: int, requests: int) -> None:
    with Site(always(b"", status=status)) as site:
        answer = get(site.url(""), allow_private=(site.address,), retries=2)
    assert (answer.reason, answer.http_status) == (f"http {status}", status)
    assert (site.seen.total(), answer.attempts) == (requests, requests)


def test_a_lost_connection_is_asked_for_again() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if site.seen.total() < 3:
            assert request.transport is not None
            request.transport.close()
        return web.Response(body=BODY)

    with Site(handler) as site:
        answer = get(site.url(""), allow_private=(site.address,), retries=2)
    assert (answer.body, answer.attempts) == (BODY, 3)


def test_a_body_that_ends_early_is_not_taken() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(BODY[:10])
        assert request.transport is not None
        request.transport.close()
        return response

    with Site(handler) as site:
        answer = get(site.url(""), allow_private=(site.address,), retries=1)
    assert (answer.body, answer.reason, answer.attempts) == (None, "connection lost", 2)


@pytest.mark.parametrize(
    ("url", "reason"), [("http://127.0.0.1:{port}/", "no connection"), ("http://no.example/", "name not found")]
)
def test_what_is_not_there_is_asked_for_once(url: str, reason: str) -> None:
    def nobody(host: str) -> list[str]:
        raise OSError("no such name")

    with Canary("127.0.0.1") as closed:
        port = closed.port
    answer = get(url.format(port=port), lookup=nobody, allow_private=("127.0.0.1",))
    assert (answer.reason, answer.attempts) == (reason, 1)


def test_a_name_server_that_is_busy_is_asked_again() -> None:
    asked: list[str] = []

    def busy(host: str) -> list[str]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    answer = get("http://busy.example/", lookup=busy, retries=1)
    assert (answer.reason, answer.attempts, len(asked)) == ("name not found", 2, 2)


def test_tls_keeps_the_name_and_a_false_certificate_is_final() -> None:
    with Site(always()) as site:
        answer = get("https://a.test/", resolve=(f"*.test={site.address}",))
    assert (answer.reason, answer.attempts) == ("tls", 1)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the fetcher makes, which are over at once."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        if seconds:  # aiohttp gives way with 0
            made.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", at_once)
    return made


def test_retry_after_is_waited_for_within_the_budget(pauses: list[float]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if site.seen.total() == 1:
            return web.Response(status=429, headers={"Retry-After": "7"})
        return web.Response(body=BODY)

    with Site(handler) as site:
        assert get(site.url(""), allow_private=(site.address,)).body == BODY
    assert (pauses, site.seen.total()) == ([7.0], 2)


def test_a_retry_after_beyond_the_budget_is_not_waited_for(pauses: list[float]) -> None:
    with Site(always(b"", status=503, headers={"Retry-After": "3600"})) as site:
        answer = get(site.url(""), allow_private=(site.address,))
    assert (answer.reason, site.seen.total(), pauses) == ("http 503", 1, [])


@pytest.mark.parametrize(("honour", "reason"), [(True, "opted out: noai"), (False, None)])
def test_an_opt_out_is_honoured_in_any_of_several_headers(honour: bool, reason: str | None) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.Response(body=BODY)
        response.headers.add("X-Robots-Tag", "otherbot: noindex")
        response.headers.add("X-Robots-Tag", "nofollow, noai")
        return response

    with Site(handler) as site:
        assert get(site.url(""), allow_private=(site.address,), honour_opt_out=honour).reason == reason


def test_an_empty_body_is_named() -> None:
    with Site(always(b"")) as site:
        assert get(site.url(""), allow_private=(site.address,)).reason == "empty"


def test_an_answer_that_is_no_http_is_named() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"SSH-2.0-OpenSSH_9.0\r\n\r\n")  # type: ignore[attr-defined]
        request.transport.close()
        return web.Response()

    with Site(handler) as site:
        assert get(site.url(""), allow_private=(site.address,), retries=0).reason == "bad answer"
