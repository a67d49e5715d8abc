"""What the fetcher takes of an answer, how long it waits and when it asks again, against a real server on loopback."""

import asyncio
import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections import defaultdict
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tests.vlp_core.web.fetching import BODY, always, get, get_all, nobody
from tests.vlp_core.web.site import Canary, Handler, Site
from vlp_core.web.link import Answer, Link
from vlp_core.web.reasons import may_pass
from vlp_core.web.retry import pause_before


def test_a_picture_comes_as_it_is() -> None:
    with Site(always()) as site:
        answer = get(site.url("a.jpg"), allow_private=(site.address,))
    assert answer == Answer(body=BODY, http_status=200, final_url=site.url("a.jpg"))


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"\xff")
        await asyncio.sleep(0.05)
    return response


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


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"10000\r\n" + bytes(0x10000) + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\n\0\r\n" * 4096),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n", b"10000\r\n" + bytes(0x10000) + b"\r\n"),
        (b"Connection: close\r\n", bytes(65536)),
        (b"Content-Length: 99999999999\r\n", bytes(65536)),
    ],
    ids=["chunks", "chunks of a byte", "chunks and a length", "until it is closed", "a length"],
)
def test_a_body_without_end_is_left_at_the_cap(head: bytes, piece: bytes) -> None:
    """And its connection is closed: nothing more is read of it."""
    sent, closed = 0, threading.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        out: Any = request.transport
        out.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        while not out.is_closing():
            if out.get_write_buffer_size() < 500_000:
                out.write(piece)
                sent += len(piece)
            await asyncio.sleep(0)
        closed.set()
        return web.Response()

    with Site(handler) as site:
        answer = get(site.url(""), allow_private=(site.address,), max_bytes=300_000, retries=0)
        assert closed.wait(10)
    assert answer.body is None
    assert answer.reason == ("bad answer" if b"\nContent-Length" in head else "too many bytes")
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 99),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"b" * 99),
    ],
    ids=["headers", "a header", "interim answers", "trailers", "a chunk's extension"],
)
def test_what_stands_around_a_body_has_its_bounds_too(head: bytes, more: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        out: Any = request.transport
        out.write(head)
        while not out.is_closing():
            if out.get_write_buffer_size() < 500_000:
                out.write(more * 999)
            await asyncio.sleep(0.001)
        return web.Response()

    with Site(handler) as site:
        tracemalloc.start()
        answer = get(site.url(""), allow_private=(site.address,), deadline_s=0.5, retries=0, max_bytes=9_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.body is None and answer.reason in ("bad answer", "connection lost", "time-out")
    assert peak < 20_000_000


def test_long_headers_are_no_fault() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=BODY, headers={"Content-Security-Policy": "img-src *;" * 5000})

    with Site(handler) as site:
        assert get(site.url(""), allow_private=(site.address,)).body == BODY


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
    ("status", "requests"),
    [
        *[(status, 3) for status in (408, 425, 429, 500, 503)],
        *[(status, 1) for status in (404, 410, 403, 400, 304, 204)],
    ],
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


@pytest.mark.parametrize(("robots", "reason"), [(False, "tls"), (True, "robots.txt: tls")])
def test_tls_keeps_the_name_and_a_false_certificate_is_final_for_a_link(robots: bool, reason: str) -> None:
    """Not for all of an origin, where robots.txt was asked for once."""
    with Site(always()) as site:
        answer = get("https://a.test/", resolve=(f"*.test={site.address}",), honour_robots=robots)
    assert (answer.reason, answer.attempts) == (reason, 1)
    assert may_pass(reason) is robots


@pytest.mark.parametrize("header", ["1", None], ids=["seconds", "a date"])
def test_retry_after_is_waited_for_by_all_links_of_the_host(header: str | None) -> None:
    """Also by those that were never told to wait; a date is in whole seconds, so that it is given two ahead."""
    times: list[float] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        if len(times) == 1:
            after = header or formatdate(time.time() + 2, usegmt=True)
            return web.Response(status=429, headers={"Retry-After": after})
        return web.Response(body=BODY)

    with Site(handler) as site:
        links = [Link(site.url(str(number))) for number in range(3)]
        answers = get_all(links, allow_private=(site.address,), per_host=1)
    assert [(answer.body, answer.attempts) for answer in answers] == [(BODY, 2), (BODY, 1), (BODY, 1)]
    assert len(times) == 4 and times[1] - times[0] > 0.95


def test_hosts_that_are_busy_see_pauses_that_grow_and_are_not_in_step() -> None:
    """Ten begin together. The pauses are those of each host's name, so that they are the same each time; a machine that
    is slow makes them longer, none makes them shorter."""
    came: dict[str, list[float]] = defaultdict(list)

    async def handler(request: web.Request) -> web.StreamResponse:
        came[request.host].append(time.monotonic())
        return web.Response(status=429 if request.host < "f" else 503)

    with Site(handler) as site:
        links = [Link(f"http://{name}.test/") for name in "abcdefghij"]
        resolve = (f"*.test={site.address}",)
        answers = get_all(links, resolve=resolve, pause_s=0.15, retries=3, honour_robots=False)
    assert [(answer.reason, answer.attempts) for answer in answers] == [("http 429", 4)] * 5 + [("http 503", 4)] * 5
    for host, times in came.items():
        least = [pause_before(number, first_s=0.15, key=host) for number in (1, 2, 3)]
        assert (np.diff(times) > np.array(least) - 0.02).all(), host
    thirds = [pause_before(3, first_s=0.15, key=host) for host in came]
    assert max(thirds) > 1.3 * min(thirds) and min(thirds) > 0.3


def test_a_host_that_wants_to_be_left_alone_beyond_the_budget_is_left_alone() -> None:
    with Site(always(b"", status=503, headers={"Retry-After": "3600"})) as site:
        links = [Link(site.url(str(number))) for number in range(3)]
        answers = get_all(links, allow_private=(site.address,), per_host=1)
    assert [(answer.reason, answer.attempts) for answer in answers] == [("http 503", n) for n in (1, 0, 0)]
    assert site.seen.total() == 1


@pytest.mark.parametrize(
    ("etag", "date", "same"),
    [
        ('"one"', None, True),
        ('"two"', None, False),
        (None, "Sat, 21 Nov 2026 10:00:00 GMT", True),
        ("\r\nX: y", None, False),
    ],
)
def test_a_link_is_asked_for_only_if_it_has_changed_since(etag: str | None, date: str | None, same: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        known = {"ETag": '"one"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
        unchanged = request.headers.get("If-None-Match") == known["ETag"]
        if unchanged or request.headers.get("If-Modified-Since") == known["Last-Modified"]:
            return web.Response(status=304, headers=known)
        return web.Response(body=BODY, headers=known)

    with Site(handler) as site:
        answer = get_all([Link(site.url("a"), etag=etag, last_modified=date)], allow_private=(site.address,))[0]
    assert (answer.not_modified, answer.body, answer.reason) == (same, None if same else BODY, None)
    assert (answer.http_status, answer.etag) == (304 if same else 200, '"one"')
    assert answer.last_modified == "Sat, 21 Nov 2026 10:00:00 GMT"


def test_a_link_that_has_opted_out_since_says_so_though_it_has_not_changed() -> None:
    with Site(always(b"", status=304, headers={"ETag": '"one"', "X-Robots-Tag": "noai"})) as site:
        answer = get_all([Link(site.url("a"), etag='"one"')], allow_private=(site.address,))[0]
    assert (answer.reason, answer.not_modified) == ("opted out: noai", False)


@pytest.mark.parametrize(("contact", "said"), [("", "vlp/1.0"), ("a@b.example", "vlp/1.0 (+a@b.example)")])
def test_who_asks_says_so_and_where_to_be_found(contact: str, said: str) -> None:
    agents = []

    async def handler(request: web.Request) -> web.StreamResponse:
        agents.append(request.headers["User-Agent"])
        return web.Response(body=BODY)

    with Site(handler) as site:
        site.robots = None
        get(site.url("a"), allow_private=(site.address,), contact=contact)
    assert agents == [said, said]


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
