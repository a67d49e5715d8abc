"""Fetches one link: a bounded body, or a short reason why there is none."""

import asyncio
import logging
import socket
import ssl
import zlib
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from yarl import URL

from vlp_core.web.addresses import Gate, is_name, literal
from vlp_core.web.optout import opted_out
from vlp_core.web.resolver import Lookup, RefusedAddressError, Resolver, system_lookup
from vlp_core.web.retry import pause_before, retry_after, worth_retrying
from vlp_core.web.settings import Fetch

log = logging.getLogger(__name__)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DECODABLE = {"": None, "identity": None, "gzip": 47, "x-gzip": 47, "deflate": 47}  # 47: zlib finds out which


@dataclass(frozen=True)
class Answer:
    """What came of a link: `body`, or `reason`, which holds neither addresses nor times."""

    body: bytes | None = None
    reason: str | None = None
    http_status: int | None = None
    final_url: str | None = None
    attempts: int = 1
    retry_s: float | None = None  # None: final; else seconds the server asks for before another attempt


def parsed(link: str, base: URL | None = None) -> URL | None:
    """A link in its parts, seen from `base` where it is relative; None where it cannot be read."""
    try:
        return URL(link) if base is None else base.join(URL(link))
    except Exception:  # yarl has more than ValueError for what is no link: http://[]@ is an IndexError
        return None


class Fetcher:
    """An HTTP client that connects to checked addresses only; use it as an async context manager."""

    def __init__(self, fetch: Fetch, *, lookup: Lookup = system_lookup) -> None:
        self._fetch = fetch
        self._gate = Gate(allow_private=fetch.allow_private, resolve=fetch.resolve)
        self._lookup = lookup

    async def __aenter__(self) -> Self:
        # A thread for each link in flight: names that nobody answers for must not keep the others waiting.
        self._resolver = Resolver(self._gate, lookup=self._lookup, threads=self._fetch.connections)
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            limit=0,  # the caller bounds what is in flight; waiting here would count against deadlines
            keepalive_timeout=2,  # lists name thousands of hosts: idle connections must not use up the descriptors
            ttl_dns_cache=300,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would connect to addresses nobody has checked
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._fetch.connect_s),
            headers={
                hdrs.USER_AGENT: f"Mozilla/5.0 (compatible; {self._fetch.user_agent}/1.0)",
                hdrs.ACCEPT: "image/jpeg,image/png,image/webp,image/*;q=0.8,*/*;q=0.5",
                hdrs.ACCEPT_ENCODING: "identity",
            },
        )
        # aiohttp asks again by itself, at once, when a connection is lost; whether and when is for `get` to say.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._resolver.close()  # aiohttp closes only those it made

    async def get(self, url: str) -> Answer:
        """Fetch a link, asking again where that can help, within the budget."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._fetch.budget_s
        attempt = 1
        while True:
            seconds = min(self._fetch.deadline_s, end - clock())
            answer = replace(await self._attempt(url, seconds), attempts=attempt)
            if answer.retry_s is None or attempt > self._fetch.retries:
                return answer
            pause = max(answer.retry_s, pause_before(attempt, first_s=self._fetch.pause_s, key=url))
            if clock() + pause >= end:
                return answer
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self, url: str, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(url)
        except Exception as error:  # one link among millions must not end the rest; what is not foreseen is logged
            reason, again = _reason(error)
            return Answer(reason=reason, retry_s=0.0 if again else None)

    async def _follow(self, url: str) -> Answer:
        """One attempt: the link and the redirects it leads to, every hop checked alike."""
        hop = parsed(url)
        for _ in range(self._fetch.max_redirects + 1):
            if hop is None:
                return Answer(reason="bad url")
            refusal = self._refusal(hop)
            if refusal:
                return Answer(reason=refusal)
            async with self._session.get(hop, allow_redirects=False) as response:
                location = response.headers.get(hdrs.LOCATION)
                if response.status not in REDIRECTS or not location:
                    return await self._read(response)
                hop = parsed(location, hop)
        return Answer(reason="too many redirects")

    def _refusal(self, hop: URL) -> str | None:
        """Why a hop is not taken; addresses behind names are checked when they are looked up."""
        if hop.scheme not in ("http", "https"):
            return "refused scheme" if hop.scheme else "bad url"
        if not hop.raw_host or hop.port is None:
            return "bad url"
        address = literal(hop.raw_host)
        if address is None and not is_name(hop.raw_host):
            return "bad url"  # neither this check nor the one behind names would see where it leads
        if address is not None and not self._gate.allows(hop.raw_host, str(address), hop.port):
            return "refused address"
        return None

    async def _read(self, response: aiohttp.ClientResponse) -> Answer:
        answer = Answer(http_status=response.status, final_url=str(response.url))
        if response.status != 200:
            asked = retry_after(response.headers.get(hdrs.RETRY_AFTER)) if worth_retrying(response.status) else None
            return replace(answer, reason=f"http {response.status}", retry_s=asked)
        if self._fetch.honour_opt_out:
            directive = opted_out(response.headers.getall("X-Robots-Tag", []), self._fetch.user_agent)
            if directive:
                return replace(answer, reason=f"opted out: {directive}")
        encoding = response.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
        if encoding not in _DECODABLE:
            return replace(answer, reason="unknown encoding")
        try:
            body = await read_bounded(response, self._fetch.max_bytes, _DECODABLE[encoding])
        except zlib.error:
            return replace(answer, reason="broken encoding")
        if body is None:
            return replace(answer, reason="too many bytes")
        return replace(answer, body=body) if body else replace(answer, reason="empty")


async def read_bounded(response: aiohttp.ClientResponse, most: int, wbits: int | None) -> bytes | None:
    """The body, inflated where `wbits` says how; None where it is longer than `most` bytes.

    Neither a false Content-Length nor a compressed body makes it hold more than `most` and one chunk.
    """
    if response.content_length is not None and response.content_length > most:
        return None
    inflate = zlib.decompressobj(wbits) if wbits else None
    body = bytearray()
    raw = 0
    async for chunk in response.content.iter_any():
        raw += len(chunk)
        body += inflate.decompress(chunk, most - len(body) + 1) if inflate else chunk
        # Further gzip members too: where the chunks were cut must not decide, and zlib would keep all that follows.
        if inflate is not None and inflate.unused_data:
            raise zlib.error("bytes after the end of the compressed body")
        if max(raw, len(body)) > most:
            return None
    if inflate is not None and body and not inflate.eof:
        raise zlib.error("the compressed body ends early")
    return bytes(body)


def _reason(error: Exception) -> tuple[str, bool]:
    """A short stable reason (see `reasons`) for what went wrong, and whether asking again may help."""
    if isinstance(error, RefusedAddressError):
        return "refused address", False
    if isinstance(error, TimeoutError):
        return "time-out", True
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        temporary = getattr(error.os_error, "errno", None) == socket.EAI_AGAIN
        return "name not found", temporary
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError | ssl.CertificateError):
        return "tls", False
    if isinstance(error, aiohttp.InvalidURL):
        return "bad url", False
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error.os_error, ConnectionResetError):
        return "no connection", False
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return "connection lost", True
    if isinstance(error, aiohttp.ClientError):
        return "bad answer", False
    if isinstance(error, ValueError):  # what IDNA cannot read
        return "bad url", False
    log.warning("a link failed in a way that is not foreseen", exc_info=error)
    return f"error: {type(error).__name__}", False
