"""Names become addresses in one place, and what is connected to is what was found there and has been checked."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

from vlp_core.web.addresses import Gate
from vlp_core.web.retry import pause_before
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import Looked

Lookup = Callable[[str], Awaitable[list[str]]]
"""A name -> its addresses. OSError where there are none, TimeoutError where nobody says."""

_TRY_S, _TRIES = 2.5, 2  # c-ares doubles the time with each try
_MOST_S = 10.0
_NONE_SUCH = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME})

found_addresses: ContextVar[Sequence[str]] = ContextVar("found_addresses", default=())
"""The addresses of the host that a task's request goes to."""


class RefusedAddressError(Exception):
    """A host has no address that may be connected to."""


class Names:
    """Looks names up without threads, so that thousands which hang hold nothing up; made inside a running loop."""

    def __init__(self, nameservers: Sequence[str] = ()) -> None:
        self._resolver = aiodns.DNSResolver(
            nameservers=list(nameservers) or None,
            timeout=_TRY_S,
            tries=_TRIES,
            # Names of lists are whole: a search domain would make several questions of each, and names of one's own.
            flags=pycares.ARES_FLAG_NOSEARCH,
        )

    async def __call__(self, host: str) -> list[str]:
        try:
            found = await self._resolver.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            if error.args[0] == aiodns.error.ARES_ETIMEOUT:
                raise TimeoutError from error
            known = error.args[0] in _NONE_SUCH
            raise socket.gaierror(socket.EAI_NONAME if known else socket.EAI_AGAIN, str(error.args[-1])) from error
        addresses = (node.addr[0] for node in found.nodes)
        return list(dict.fromkeys(text.decode() if isinstance(text, bytes) else str(text) for text in addresses))

    async def close(self) -> None:
        await self._resolver.close()


async def look_up(host: str, lookup: Lookup, fetch: Fetch, slots: asyncio.Semaphore) -> tuple[Looked, int]:
    """Ask for a name, again after a pause where the name server is busy; what came of it, and the times asked."""
    for tries in range(1, fetch.retries + 2):
        try:
            async with slots, asyncio.timeout(_MOST_S):
                found = await lookup(host)
            return Looked(host, tuple(found), None if found else "name not found"), tries
        except TimeoutError:
            return Looked(host, failed="name server does not answer"), tries
        except (OSError, ValueError) as error:  # ValueError: what IDNA cannot read
            if getattr(error, "errno", None) != socket.EAI_AGAIN:
                break
        if tries <= fetch.retries:
            await asyncio.sleep(pause_before(tries, first_s=fetch.pause_s, key=host))
    return Looked(host, failed="name not found"), tries


class Checked(AbstractResolver):
    """aiohttp's resolver: hands out what was found for a request's host and the gate allows; looks nothing up."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """Addresses of `host`, of both families, that may be connected to; RefusedAddressError where it has none."""
        mapping = self._gate.mapped(host)
        if mapping is not None:
            return [_result(host, str(mapping.address), mapping.port)]
        allowed = [
            _result(host, address, port) for address in found_addresses.get() if self._gate.allows(host, address, port)
        ]
        if not allowed:
            raise RefusedAddressError(host)
        return allowed

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
