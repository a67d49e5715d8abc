"""Sends one request, to a checked address: a bounded body, where it leads on to, or a short reason for neither."""

import asyncio
import errno
import logging
import ssl
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import hdrs
from yarl import URL

from vlp_core.web.addresses import Gate
from vlp_core.web.link import Answer, Link, parsed
from vlp_core.web.optout import opted_out, reserved
from vlp_core.web.reasons import NO_SOCKET
from vlp_core.web.resolver import Checked, RefusedAddressError, found_addresses
from vlp_core.web.retry import retry_after, worth_retrying
from vlp_core.web.room import Claim
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import How

log = logging.getLogger(__name__)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({429, 503})
_NOT_MODIFIED = 304
_MOST_OF_A_LINE = 2**16  # bytes: policies and cookies of real sites outgrow aiohttp's 8 KiB
_DECODABLE = {"": None, "identity": None, "gzip": 47, "x-gzip": 47, "deflate": 47}  # 47: zlib finds out which
# What this machine has too few of; of the host it says nothing.
_NO_SOCKET = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS})


@dataclass(frozen=True, slots=True)
class Hop:
    """What one request came to."""

    how: How
    answer: Answer = Answer()
    leads: bool = False
    """It is a redirect, to `to`: None where that cannot be read."""
    to: URL | None = None
    retry_s: float | None = None
    """None: final; else seconds the server asks for before another attempt."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a body is wanted: at most so many bytes, or just the first of them (`cut`); and whose word decides."""

    link: Link
    most: int
    cut: bool = False
    opt_outs: bool = True


class Fetcher:
    """An HTTP client that connects to checked addresses only; use it as an async context manager."""

    def __init__(self, fetch: Fetch, gate: Gate, kept_s: float) -> None:
        """`kept_s`: seconds that a connection is left open for the next request."""
        self._fetch, self._gate, self._kept_s = fetch, gate, kept_s

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=Checked(self._gate),
            use_dns_cache=False,
            limit=0,  # the caller bounds what is in flight; waiting here would count against deadlines
            keepalive_timeout=self._kept_s,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # a proxy would connect to addresses nobody has checked
            auto_decompress=False,
            max_line_size=_MOST_OF_A_LINE,
            max_field_size=_MOST_OF_A_LINE,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._fetch.connect_s),
            headers={
                hdrs.USER_AGENT: self._fetch.agent,
                hdrs.ACCEPT: "image/jpeg,image/png,image/webp,image/*;q=0.8,*/*;q=0.5",
                hdrs.ACCEPT_ENCODING: "identity",
            },
        )
        # aiohttp asks again by itself, at once, when a connection is lost; whether and when is not for it to say.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(self, url: URL, wish: Wish, addresses: Sequence[str], seconds: float, claim: Claim) -> Hop:
        """Send one request, to one of `addresses` that the gate allows; `claim` then holds the room of its body."""
        found_addresses.set(addresses)
        try:
            async with asyncio.timeout(seconds) as deadline:
                headers = _conditions(wish.link)
                async with self._session.get(url, allow_redirects=False, headers=headers) as response:
                    location = response.headers.get(hdrs.LOCATION)
                    if response.status in REDIRECTS and location:
                        return self._opted_out(response, wish) or Hop("answered", leads=True, to=parsed(location, url))
                    return await self._read(response, wish, _Sink(wish, claim, deadline))
        except Exception as error:  # one link among millions must not end the rest; what is not foreseen is logged
            how, reason, again = _failure(error)
            return Hop(how, Answer(reason=reason), retry_s=0.0 if again else None)

    async def _read(self, response: aiohttp.ClientResponse, wish: Wish, sink: "_Sink") -> Hop:
        headers, status = response.headers, response.status
        answer = Answer(http_status=status, final_url=str(response.url))
        if status in (200, _NOT_MODIFIED) and (refused := self._opted_out(response, wish)):
            return refused
        answer = replace(answer, etag=headers.get(hdrs.ETAG), last_modified=headers.get(hdrs.LAST_MODIFIED))
        if status == _NOT_MODIFIED and _conditions(wish.link):
            return Hop("answered", replace(answer, not_modified=True))
        if status != 200:
            asked = retry_after(headers.get(hdrs.RETRY_AFTER)) if worth_retrying(status) else None
            how: How = "busy" if status in _BUSY else "answered"
            return Hop(
                how, Answer(reason=f"http {status}", http_status=status, final_url=answer.final_url), retry_s=asked
            )
        body, reason = await _body(response, sink)
        return Hop("answered", replace(answer, body=body, reason=reason))

    def _opted_out(self, response: aiohttp.ClientResponse, wish: Wish) -> Hop | None:
        """The answer where its owner, or who leads to it, wants a picture left out; None where it may be taken."""
        if not (wish.opt_outs and self._fetch.honour_opt_out):
            return None
        directive = opted_out(response.headers.getall("X-Robots-Tag", ()), self._fetch.user_agent)
        if directive is None and reserved(response.headers.getall("tdm-reservation", ())):
            directive = "tdm-reservation"
        if directive is None:
            return None
        reason = f"opted out: {directive}"
        return Hop("answered", Answer(reason=reason, http_status=response.status, final_url=str(response.url)))


def _conditions(link: Link) -> dict[str, str]:
    """Headers by which a server may say that nothing has changed (RFC 9110, 13.1), where they are fit to be sent."""
    said = {hdrs.IF_NONE_MATCH: link.etag, hdrs.IF_MODIFIED_SINCE: link.last_modified}
    return {name: value for name, value in said.items() if value and value.isprintable()}


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where a body goes: its bounds, its room, and the deadline that waits while there is none."""

    wish: Wish
    claim: Claim
    deadline: asyncio.Timeout


async def _body(response: aiohttp.ClientResponse, sink: _Sink) -> tuple[bytes | None, str | None]:
    """The body, or why it is not taken."""
    encoding = response.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if encoding not in _DECODABLE:
        return None, "unknown encoding"
    try:
        body = await _bounded(response, sink, _DECODABLE[encoding])
    except zlib.error:
        return None, "broken encoding"
    if body is None:
        return None, "too many bytes"
    return (body, None) if body else (None, "empty")


async def _bounded(response: aiohttp.ClientResponse, sink: _Sink, wbits: int | None) -> bytes | None:
    """The body, inflated where `wbits` says how; None where it is longer than is wanted.

    Neither a false Content-Length nor a compressed body makes it hold more than that and one chunk.
    """
    most, cut = sink.wish.most, sink.wish.cut
    if not cut and response.content_length is not None and response.content_length > most:
        return None
    inflate = zlib.decompressobj(wbits) if wbits else None
    chunks: list[bytes] = []
    raw = size = 0
    async for chunk in response.content.iter_any():
        raw += len(chunk)
        part = inflate.decompress(chunk, most - size + 1) if inflate else chunk
        size += len(part)
        # Further gzip members too: where the chunks were cut must not decide, and zlib would keep all that follows.
        if inflate is not None and inflate.unused_data:
            raise zlib.error("bytes after the end of the compressed body")
        if max(raw, size) > most and not cut:
            return None
        await sink.claim.grow(len(part), sink.deadline)
        chunks.append(part)
        if max(raw, size) > most:
            return _whole_lines(b"".join(chunks)[:most])
    if inflate is not None and size and not inflate.eof:
        raise zlib.error("the compressed body ends early")
    return b"".join(chunks)


def _whole_lines(text: bytes) -> bytes:
    """Without the last line, which is cut off: a rule may so forbid less, or allow more, than was meant."""
    return text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]


def _failure(error: Exception) -> tuple[How, str, bool]:
    """How a request failed, a short stable reason (see `reasons`), and whether asking again may help."""
    if isinstance(error, OSError) and error.errno in _NO_SOCKET:
        return "unused", NO_SOCKET, True
    if isinstance(error, RefusedAddressError):
        return "unused", "refused address", False
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "unreached", "time-out", True
    if isinstance(error, TimeoutError):
        return "silent", "time-out", True
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError | ssl.CertificateError):
        return "lost", "tls", False
    if isinstance(error, aiohttp.InvalidURL):
        return "unused", "bad url", False
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error.os_error, ConnectionResetError):
        return "unreached", "no connection", False
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return "lost", "connection lost", True
    if isinstance(error, aiohttp.ClientError):
        return "lost", "bad answer", False
    if isinstance(error, ValueError):  # what IDNA cannot read
        return "unused", "bad url", False
    log.warning("a link failed in a way that is not foreseen", exc_info=error)
    return "lost", f"error: {type(error).__name__}", False
