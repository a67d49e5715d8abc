"""The one place where names become addresses: what it hands out has been checked, and is what is connected to."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from vlp_core.web.addresses import Gate

Lookup = Callable[[str], list[str]]  # a name -> its addresses; OSError where there are none


class RefusedAddressError(Exception):
    """A host has no address that may be connected to."""


def system_lookup(host: str) -> list[str]:
    """Addresses of a name as the system knows them, in the system's order."""
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class Resolver(AbstractResolver):
    """aiohttp's resolver for names; addresses written in links do not pass here, see `Fetcher`."""

    def __init__(self, gate: Gate, *, lookup: Lookup, threads: int) -> None:
        self._gate = gate
        self._lookup = lookup
        # `threads` of its own, not the loop's: names that nobody answers for hold one for many seconds.
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="lookup")

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """Addresses of `host`, of both families, that may be connected to; RefusedAddressError where it has none such.

        OSError where the name has no address at all.
        """
        mapping = self._gate.mapped(host)
        if mapping is not None:
            return [_result(host, str(mapping.address), mapping.port)]
        found = await asyncio.get_running_loop().run_in_executor(self._pool, self._lookup, host)
        allowed = [_result(host, address, port) for address in found if self._gate.allows(host, address, port)]
        if not found:
            raise OSError("no address")
        if not allowed:
            raise RefusedAddressError(host)
        return allowed

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
