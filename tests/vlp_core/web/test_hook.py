"""What a web hook is sent, and what becomes of one that leads nowhere or inwards."""

import asyncio
import json

import pytest
from aiohttp import web

from tests.vlp_core.web.site import Canary, Site
from vlp_core.errors import UserError
from vlp_core.web.addresses import Gate
from vlp_core.web.hook import check_hook, send


def told(url: str, *allowed: str, seconds: float = 5) -> str | None:
    return asyncio.run(send(url, json.dumps({"schedule": "photos"}).encode(), Gate(allow_private=allowed), seconds))


def test_it_is_posted_json_and_its_answer_counts() -> None:
    heard: list[tuple[str, str, object]] = []

    async def hook(request: web.Request) -> web.StreamResponse:
        heard.append((request.method, request.content_type, await request.json()))
        if request.path == "/slow":
            await asyncio.sleep(0.6)
        return web.Response(status=500 if request.path == "/broken" else 204)

    with Site(hook) as site:
        assert told(site.url("ok"), site.address) is None
        assert heard == [("POST", "application/json", {"schedule": "photos"})]
        assert told(site.url("broken"), site.address) == "http 500"
        assert told(site.url("slow"), site.address, seconds=0.2) == "no answer in 0.2 s"
        seen = len(heard)
        assert told(site.url("ok")) == "refused address" and told(f"http://localhost:{site.port}/ok") is not None
        assert len(heard) == seen
    assert "Cannot connect" in str(told(site.url("ok"), site.address))


def test_no_redirect_leads_it_inwards() -> None:
    with Canary("127.0.0.2") as canary:

        async def away(request: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(f"http://127.0.0.2:{canary.port}/x")

        with Site(away) as site:
            assert told(site.url("x"), site.address) == "http 307"
        assert not canary.disturbed()


@pytest.mark.parametrize(
    ("url", "said"), [("http://127.0.0.1:9/x", "private"), ("ftp://a.example", "scheme"), ("a.example/x", "bad url")]
)
def test_one_that_cannot_be_told_is_known_before_anything_runs(url: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^--web-hook {url}: .*{said}"):
        check_hook(url, Gate(), "--web-hook")
    check_hook("http://127.0.0.1:9/x", Gate(allow_private=["127.0.0.1:9"]), "--web-hook")
