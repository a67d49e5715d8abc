"""Links through a crawl, and sites that answer them."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.vlp_core.web.site import Handler, picture
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Answer, Link
from vlp_core.web.reasons import UNFORESEEN, class_of
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import AsyncBook

BODY = picture()
Addresses = Callable[[str], list[str]]


def looking(lookup: Addresses) -> Callable[[str], Awaitable[list[str]]]:
    async def answer(host: str) -> list[str]:
        return lookup(host)

    return answer


def nobody(host: str) -> list[str]:
    raise OSError("no such name")


def get_all(
    links: list[Link], *, lookup: Addresses | None = None, book: AsyncBook | None = None, **settings: Any
) -> list[Answer]:
    """Links with quick settings, in list order; a reason, where one fails, is one that is counted in a class."""
    fetch = Fetch(**{"pause_s": 0.01, "deadline_s": 5.0, "per_host_rate": 0.0, **settings})
    answers: dict[int, Answer] = {}
    crawl(enumerate(links), fetch, answers.__setitem__, book=book, lookup=looking(lookup) if lookup else None)
    assert all(answer.reason is None or class_of(answer.reason) != UNFORESEEN for answer in answers.values())
    return [answers[number] for number in range(len(links))]


def get(url: str, **options: Any) -> Answer:
    """One link, as `get_all` takes it."""
    return get_all([Link(url)], **options)[0]


def always(body: bytes = BODY, **options: Any) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, **options)

    return handler
