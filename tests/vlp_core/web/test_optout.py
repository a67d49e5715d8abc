"""What owners say in headers: how it is read, and that it is honoured, against a real server on loopback."""

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.vlp_core.web.fetching import BODY, get
from tests.vlp_core.web.site import Site
from vlp_core.web.optout import opted_out, reserved

SUMMER_2020 = 1_593_000_000


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        (["all"], None),
        (["noai"], "noai"),
        (["NoAI"], "noai"),
        (["noimageai"], "noimageai"),
        (["noindex"], "noindex"),
        (["none"], "none"),
        (["nofollow, noarchive"], None),
        (["nofollow", "noai"], "noai"),
        (["nofollow, noindex"], "noindex"),
        (["noindex,noai"], "noai"),
        (["noindex; nofollow"], "noindex"),
        (["noindex, max-image-preview:large"], "noindex"),
        (["max-image-preview:large, noindex"], "noindex"),
        (["max-image-preview: none"], None),
        (["noai, unavailable_after: Wed, 25 Jun 2030 15:00:00 PST"], "noai"),
        (["unavailable_after: Wed, 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["unavailable_after: 2030-06-25T15:00:00Z"], None),
        (["otherbot: noindex"], None),
        (["otherbot: nofollow, noindex"], None),
        (["otherbot: noindex, vlp: nofollow"], None),
        (["vlp: noindex"], "noindex"),
        (["VLP : noindex"], "noindex"),
        (["vlp/1.0: noindex"], "noindex"),
        (["*: noindex"], "noindex"),
        (["vlp: nofollow, noindex"], "noindex"),
        (["otherbot: noai, vlp: noindex"], "noindex"),
        (["noindex, otherbot: nofollow"], "noindex"),
        (["otherbot: noindex", "noai"], "noai"),
        (["max-audio-preview: 3, noai"], "noai"),
        (["max-audio-preview: none, noindex"], "noindex"),
        (["ai-training: disallow, noai"], "noai"),
        (["ai-training: disallow; noai"], "noai"),
        (["noai, ai-training: disallow"], "noai"),
        (["ai-training: disallow"], None),
        (["otherbot: nofollow, ai-training: disallow, noai"], None),
        (["otherbot: max-snippet: 3, noai"], None),
        (["otherbot: unavailable_after: Wed, 25 Jun 2030 15:00:00 PST, noai"], None),
        (["vlp: ai-training: disallow, noai"], "noai"),
        (["otherbot: noindex, vlp: whatever, noai"], "noai"),
        (["noindexing"], None),
        ([""], None),
    ],
)
def test_an_opt_out_is_read_where_it_is_meant_for_us(headers: list[str], found: str | None) -> None:
    assert opted_out(headers, "VLP", SUMMER_2020) == found


@pytest.mark.parametrize("before", ["", "all, ", "otherbot: nofollow, vlp: ", "*: max-snippet: 3; "])
@pytest.mark.parametrize("after", ["", ", noarchive", "; otherbot: all"])
@pytest.mark.parametrize(
    "date",
    [
        "Fri, 25 Jun {year} 15:00:00 PST",
        "fri,25 jun {year} 15:00 gmt",
        "25 Jun {year} 15:00:00 +0200",
        "Friday, 25-Jun-{short} 15:00:00 UTC",
        "25-Jun-{year} 15:00:00 EST",
        "Fri Jun 25 15:00:00 {year}",
        "{year}-06-25T15:00:00Z",
        "{year}-06-25T15:00:00.5+02:00",
        "{year}-06-25 15:00",
        "{year}-06-25",
    ],
)
def test_what_was_to_be_had_until_a_date_is_left_out_after_it(date: str, before: str, after: str) -> None:
    for name, colon in (("unavailable_after", ": "), ("Unavailable_After", " :")):
        years = {"year": "2019", "short": "19"}, {"year": "2021", "short": "21"}
        headers = [f"{before}{name}{colon}{date.format(**year)}{after}" for year in years]
        assert [opted_out([header], "vlp", SUMMER_2020) for header in headers] == ["unavailable_after", None], headers


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("unavailable_after: soon", None),
        ("unavailable_after:", None),
        ("unavailable_after", None),
        ("unavailable_after: 32 Jun 2019 15:00:00 GMT", None),
        ("unavailable_after: soon, noai", "noai"),
        ("unavailable_after: Fri, noindex", "noindex"),
        ("unavailable_after: Tue, 25 Jun 2019 15:00:00 GMT, noai", "noai"),
        ("otherbot: unavailable_after: Tue, 25 Jun 2019 15:00:00 GMT", None),
        ("otherbot: unavailable_after: 2019-06-25, vlp: nofollow", None),
        ("otherbot: unavailable_after: 2021-06-25, vlp: unavailable_after: 2019-06-25", "unavailable_after"),
    ],
)
def test_a_date_that_says_nothing_to_us_leaves_other_directives_what_they_are(header: str, found: str | None) -> None:
    assert opted_out([header], "vlp", SUMMER_2020) == found


@given(st.text("unavailable_after:,; ftri25jun2019-+z\t*vlp0", max_size=60))
def test_whatever_stands_in_a_header_is_read_without_an_error(text: str) -> None:
    assert opted_out([text, f"unavailable_after: {text}"], "vlp", SUMMER_2020) in (None, "unavailable_after")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], False),
        (["1"], True),
        ([" 1 "], True),
        (["0"], False),
        (["0", "1"], True),
        (["0, 1"], True),
        (["10"], False),
    ],
)
def test_a_reservation_of_mining_is_a_one_in_any_header(headers: list[str], found: bool) -> None:
    assert reserved(headers) is found


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("X-Robots-Tag", "otherbot: noindex"), ("X-Robots-Tag", "nofollow, noai")], "opted out: noai"),
        ([("X-Robots-Tag", "unavailable_after: Sat, 01 Jan 2000 00:00:00 GMT")], "opted out: unavailable_after"),
        ([("tdm-reservation", "1")], "opted out: tdm-reservation"),
        ([("TDM-Reservation", "0"), ("X-Robots-Tag", "vlp: none")], "opted out: none"),
        ([("tdm-reservation", "0"), ("X-Robots-Tag", "otherbot: noai")], None),
    ],
)
@pytest.mark.parametrize("honour", [True, False])
def test_opt_outs_in_headers_are_honoured_and_named(
    honour: bool, headers: list[tuple[str, str]], reason: str | None
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=BODY, headers=CIMultiDict(headers))

    with Site(handler) as site:
        answer = get(site.url(""), allow_private=(site.address,), honour_opt_out=honour)
    assert (answer.reason, answer.body) == ((reason, None) if honour and reason else (None, BODY))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("X-Robots-Tag", "noai")], "opted out: noai"),
        ([("tdm-reservation", "1")], "opted out: tdm-reservation"),
        ([("X-Robots-Tag", "otherbot: noai")], None),
    ],
)
@pytest.mark.parametrize("honour", [True, False])
def test_opt_outs_of_who_leads_to_a_picture_are_honoured_though_its_server_says_nothing(
    honour: bool, headers: list[tuple[str, str]], reason: str | None
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/there":
            return web.Response(body=BODY)
        return web.Response(status=302, headers=CIMultiDict([("Location", "/there"), *headers]))

    with Site(handler) as site:
        answer = get(site.url("here"), allow_private=(site.address,), honour_opt_out=honour)
    left_out = honour and reason is not None
    assert (answer.reason, answer.body) == ((reason, None) if left_out else (None, BODY))
    assert (answer.http_status, site.seen["there"]) == ((302, 0) if left_out else (200, 1))
