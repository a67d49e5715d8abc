"""One link through the fetcher, and sites that answer it."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.vlp_core.web.site import Handler, picture
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
