"""Which links, addresses and redirects the fetcher follows: real servers on loopback, canaries that must see nobody."""

import pytest
from aiohttp import web

from tests.vlp_core.web.fetching import BODY, always, get, get_all
from tests.vlp_core.web.site import Canary, Handler, Site
from vlp_core.web.link import Link


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


# What a gateway makes of them (RFC 6052, RFC 3056): 127.0.0.2, 10.0.0.1, and where clouds keep their secrets.
NAT64 = ["64:ff9b::7f00:2", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe"]
SIX_TO_FOUR = ["2002:7f00:2::1", "2002:a00:1::", "2002:a9fe:a9fe::"]


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.2"],
        ["::ffff:127.0.0.2"],
        ["127.0.0.2", "10.0.0.1"],
        *([address] for address in NAT64 + SIX_TO_FOUR),
        NAT64 + SIX_TO_FOUR,
    ],
)
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
        *[(f"http://[{address}]:{{port}}/", "refused address") for address in ("::1", *NAT64, *SIX_TO_FOUR)],
        *[(f"http://{address}:{{port}}/", "refused address") for address in ("10.0.0.1", "169.254.169.254")],
        ("http://[]@", "bad url"),
        ("file:///etc/passwd", "refused scheme"),
        ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "refused scheme"),
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

    with Site(handler) as site:
        get_all([Link("http://a.test/1"), Link("http://a.test/2")], resolve=(f"*.test={site.address}",), per_host=1)
    assert cookies == [None, None]
