"""robots.txt, by RFC 9309: what it says to us, what its absence means, and how it is fetched."""

import asyncio
import time
import tracemalloc
from collections import Counter

import pytest
from aiohttp import web
from yarl import URL

from tests.vlp_core.web.fetching import BODY, always, get, get_all
from tests.vlp_core.web.site import Canary, Site
from vlp_core.web.hosts import Here
from vlp_core.web.link import Answer, Link
from vlp_core.web.reasons import class_of, may_pass
from vlp_core.web.robots import MOST_RULES, REDIRECTS, ROBOTS_BYTES, KeptRules, Rules, robots_read
from vlp_core.web.settings import Fetch

FORBIDDEN = "opted out: robots.txt"


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/a", True),
        ("User-agent: *\nDisallow: /", "/a", False),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: other\nDisallow: /", "/a", True),
        ("User-agent: VLP\nDisallow: /", "/a", False),
        ("user-agent:vlp\rdisallow:/", "/a", False),
        ("User-agent: *\nDisallow:\n\nUser-agent: vlp/1.0\nDisallow: /", "/a", False),
        ("User-agent: VLP/2 # of old\nDisallow: /", "/a", False),
        ("User-agent: vlp*\nDisallow: /", "/a", False),
        ("User-agent: vlpx/1.0\nDisallow: /", "/a", True),
        ("User-agent: *\nUser-agent: vlp\nDisallow: /a\n\nUser-agent: *\nDisallow: /b", "/a", False),
        ("User-agent: *\nUser-agent: vlp\nDisallow: /a\n\nUser-agent: *\nDisallow: /b", "/b", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: vlp", "/a", True),
        ("User-agent: vlp\nDisallow: /a\nUser-agent:\nDisallow: /b", "/b", True),
        ("User-agent: vlp\nDisallow:\n\nUser-agent: *\nDisallow: /", "/a", True),
        ("User-agent: other\nUser-agent: vlp\nDisallow: /a", "/a", False),
        ("User-agent: vlp\nDisallow: /a\nUser-agent: other\nDisallow: /\nUser-agent: vlp\nDisallow: /b", "/b", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c.jpg", True),
        ("User-agent: *\nAllow: /a/b\nDisallow: /a", "/a/c.jpg", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", True),
        ("User-agent: *\nDisallow: /*.jpg$", "/x/y.jpg", False),
        ("User-agent: *\nDisallow: /*.jpg$", "/x/y.jpg?z", True),
        ("User-agent: *\nDisallow: /*?", "/x?y", False),
        ("User-agent: *\nDisallow: /%C3%A9", "/é", False),
        ("User-agent: *\nDisallow: /é", "/%C3%A9", False),
        ("\ufeffUser-agent: * # all\nDisallow: /a # but this", "/a", False),
        ("Disallow: /", "/a", True),
        ("<html><p>Disallow: nothing</p>", "/a", True),
        ("User-agent: *\nSitemap: http://a.example/s.xml\nDisallow: /a", "/a", False),
        ("User-agent: *\nDisallow: /a\n" + "\0\xff" * 99 + "\nDisallow: /b", "/b", False),
    ],
)
def test_rules_are_read_as_they_are_meant(text: str, path: str, allowed: bool) -> None:
    read = robots_read("http://a.example:80", Answer(body=text.encode(), http_status=200), "vlp")
    assert read.failed is None
    assert Rules(read.text, "vlp").allows(URL(f"http://a.example{path}")) is allowed


def test_of_a_page_that_is_no_robots_txt_nothing_is_kept() -> None:
    page = b"<html>" + b"<p>some text: more of it</p>\n" * 5000
    assert robots_read("http://a.example:80", Answer(body=page, http_status=200), "vlp").text == ""


@pytest.mark.parametrize("end", ["\n", "\f", "\u2028"])
@pytest.mark.parametrize("first", ["*", "vlp", "other"])
def test_a_robots_txt_that_is_made_to_fill_the_memory_does_not(first: str, end: str) -> None:
    """A group of many agents and many rules."""
    agents = end.join(f"User-agent: {name}" for name in [first, *range(500)])
    rules = end.join(f"Disallow: /{path}" for path in range(500))
    answer = Answer(body=f"{agents}\n{rules}\n".encode(), http_status=200)
    tracemalloc.start()
    read = robots_read("http://a.example:80", answer, "vlp")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Rules(read.text, "vlp").allows(URL("http://a.example/0")) is (first == "other")
    assert peak < 5_000_000


def test_of_rules_that_are_too_many_no_part_is_believed() -> None:
    """And not so where they are the same ones over and over."""
    rules = [f"Disallow: /{path}\n" for path in range(MOST_RULES + 1)]
    with Site(always()) as site:
        site.robots = 200, "".join(["User-agent: *\n", *rules]).encode()
        reason = get(site.url("a.jpg"), allow_private=(site.address,)).reason
        site.robots = 200, "".join(["User-agent: *\n", *rules[1:], *rules[1:]]).encode()
        assert get(site.url("a.jpg"), allow_private=(site.address,)).body == BODY
    assert reason == "robots.txt: too many rules" and may_pass(reason)


def test_a_pattern_that_is_made_to_hang_does_not() -> None:
    rules = Rules("User-agent: *\nDisallow: /" + "*a" * 60 + "b", "vlp")
    assert rules.allows(URL("http://a.example/" + "a" * 2000))


@pytest.mark.parametrize(("delay", "seconds"), [("10", 10.0), ("0.5", 0.5), ("soon", 0.0), ("-1", 0.0), ("nan", 0.0)])
def test_a_crawl_delay_is_for_whom_it_is_meant(delay: str, seconds: float) -> None:
    text = f"User-agent: other\nCrawl-delay: 99\n\nUser-agent: *\nCrawl-delay: {delay}"
    assert Rules(text, "vlp").delay_s == seconds


def test_rules_that_were_not_needed_for_long_are_given_up() -> None:
    kept = KeptRules("vlp", most=2)
    for origin in ("a", "b", "a", "c"):
        kept.keep(origin, "")
        assert kept.get(origin) is not None
    assert [origin in kept for origin in "abc"] == [True, False, True]


def test_long_rules_are_given_up_before_there_are_many() -> None:
    """A site has as many names as it likes, and parsed rules of 500 kB take 15 MB."""
    kept = KeptRules("vlp", most_letters=100)
    for origin, letters in (("a", 40), ("b", 40), ("b", 50), ("c", 20), ("d", 500)):
        kept.keep(origin, "#" * letters)
        assert kept.get(origin) is not None
    kept.keep("a", "#")
    kept.keep("b", "#" * 99)
    assert [origin in kept for origin in "abcd"] == [True, True, False, False]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, FORBIDDEN),
        (404, None),
        (403, None),
        (410, None),
        (401, None),
        (204, None),
        (500, "robots.txt: http 500"),
        (503, "robots.txt: http 503"),
        (429, "robots.txt: http 429"),
        (408, "robots.txt: http 408"),
    ],
)
def test_no_robots_txt_allows_all_and_one_that_cannot_be_had_nothing(status: int, reason: str | None) -> None:
    with Site(always()) as site:
        site.robots = status, b"User-agent: *\nDisallow: /"
        answer = get(site.url("a.jpg"), allow_private=(site.address,), retries=1)
        asked = len(site.robots_asked)
        assert get(site.url("a.jpg"), allow_private=(site.address,), honour_robots=False).body == BODY
    assert (answer.reason, site.seen.total()) == (reason, 2 if reason is None else 1)
    assert asked == len(site.robots_asked) == (2 if status in (408, 429, 500, 503) else 1)
    if reason is not None:
        assert class_of(reason) == ("opted_out" if reason == FORBIDDEN else "robots")
        assert may_pass(reason) is (reason != FORBIDDEN)


@pytest.mark.parametrize(("size", "allowed"), [(ROBOTS_BYTES - 100, False), (ROBOTS_BYTES + 100, True)])
def test_of_a_robots_txt_without_end_the_first_500_kb_hold(size: int, allowed: bool) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path != "/robots.txt":
            return web.Response(body=BODY)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"User-agent: *\n".ljust(size, b"\n") + b"\nDisallow: /\n")
        while True:
            await response.write(bytes(65536))

    with Site(handler) as site:
        site.robots = None
        answer = get(site.url("a.jpg"), allow_private=(site.address,))
    assert answer.reason == (None if allowed else FORBIDDEN)


def test_of_a_robots_txt_that_is_cut_off_no_half_line_counts() -> None:
    with Site() as site:
        rules = b"User-agent: *\nDisallow: /\n".ljust(ROBOTS_BYTES - len(b"Allow: /"), b"\n")
        site.robots = 200, rules + b"Allow: /public/\n"
        assert get(site.url("a.jpg"), allow_private=(site.address,)).reason == FORBIDDEN


def test_a_robots_txt_that_drips_is_left_at_the_deadline() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(30):
            await response.write(b"\n")
            await asyncio.sleep(0.05)
        return response

    with Site(handler) as site:
        site.robots = None
        answer = get(site.url("a.jpg"), allow_private=(site.address,), deadline_s=0.3, retries=0)
    assert answer.reason == "robots.txt: time-out"


def test_robots_txt_is_read_once_and_its_redirects_are_followed_and_checked() -> None:
    asked: Counter[str] = Counter()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked[f"{request.host}{request.path}"] += 1
        if request.path != "/robots.txt":
            return web.Response(body=BODY)
        host = {"a.test": "http://b.test/robots.txt", "c.test": f"http://127.0.0.2:{canary.port}/robots.txt"}
        if request.host in host:
            return web.Response(status=301, headers={"Location": host[request.host]})
        return web.Response(text="User-agent: *\nDisallow: /private")

    with Canary("127.0.0.2") as canary, Site(handler) as site:
        site.robots = None
        links = [Link(f"http://{host}.test/{path}") for host in "abc" for path in ("private/1", "public/1", "public/2")]
        reasons = [answer.reason for answer in get_all(links, resolve=(f"*.test={site.address}",))]
        assert not canary.disturbed()
    assert reasons == [FORBIDDEN, None, None] * 2 + ["robots.txt: refused address"] * 3
    assert {path: count for path, count in asked.items() if "robots" in path} == {
        "a.test/robots.txt": 1,
        "b.test/robots.txt": 2,
        "c.test/robots.txt": 1,
    }


def test_a_crawl_delay_is_kept() -> None:
    times: list[float] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        return web.Response(body=BODY)

    with Site(handler) as site:
        site.robots = 200, b"User-agent: *\nCrawl-delay: 0.3"
        get_all([Link(site.url(f"{number}.jpg")) for number in range(4)], allow_private=(site.address,))
    assert len(times) == 4 and times[-1] - times[0] >= 3 * 0.3 - 0.1


def test_a_redirect_is_asked_of_the_robots_txt_of_the_host_it_leads_to() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/robots.txt":
            return web.Response(text="User-agent: *\nDisallow: /" if request.host == "b.test" else "")
        return web.Response(status=302, headers={"Location": "http://b.test/x"})

    with Site(handler) as site:
        site.robots = None
        answer = get("http://a.test/x", resolve=(f"*.test={site.address}",))
    assert (answer.reason, answer.attempts, site.hosts[-1]) == (FORBIDDEN, 1, "b.test")
    assert site.seen["x"] == 1


def test_a_robots_txt_that_was_found_elsewhere_is_not_asked_for_again_there() -> None:
    """As where all of a host's http leads to https."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.host == "a.test":
            return web.Response(status=301, headers={"Location": f"http://b.test{request.path}"})
        return web.Response(body=b"" if request.path == "/robots.txt" else BODY)

    with Site(handler) as site:
        site.robots = None
        assert get("http://a.test/x", resolve=(f"*.test={site.address}",)).body == BODY
    assert site.hosts == ["a.test", "b.test"] * 2


def test_redirects_that_end_at_another_hosts_robots_txt_do_not_replace_it() -> None:
    """Where that leads on, and so is one redirect too many for whoever sent us there."""

    async def handler(request: web.Request) -> web.StreamResponse:
        hops = [f"http://a.test/{hop}" for hop in range(REDIRECTS - 1)] + ["http://b.test/robots.txt"]
        leads = dict(zip(["http://a.test/robots.txt", *hops], [*hops, "http://b.test/rules"], strict=True))
        if str(request.url) in leads:
            return web.Response(status=302, headers={"Location": leads[str(request.url)]})
        return web.Response(body=b"User-agent: *\nDisallow: /x" if request.path == "/rules" else BODY)

    with Site(handler) as site:
        site.robots = None
        book = Here(Fetch(resolve=(f"*.test={site.address}",), per_host_rate=0.0))
        answers = [get(f"http://{host}.test/x", resolve=(f"*.test={site.address}",), book=book) for host in "ab"]
    assert [answer.reason for answer in answers] == [None, FORBIDDEN]
