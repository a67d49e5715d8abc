"""Tells a web hook something, through the gate that holds for pictures too."""

import asyncio
import socket

import aiohttp
from aiohttp import hdrs

from vlp_core.errors import UserError
from vlp_core.web.addresses import Gate, literal
from vlp_core.web.link import parsed
from vlp_core.web.resolver import Checked, Names, RefusedAddressError, found_addresses
from vlp_core.web.trip import refusal


def check_hook(url: str, gate: Gate, flag: str) -> None:
    """UserError for what is no address of the web, or one that the gate refuses."""
    found = parsed(url)
    reason = "bad url" if found is None else refusal(found, gate)
    if reason == "refused address":
        raise UserError(f"{flag} {url}: a private address; allow it by --allow-private HOST:PORT, or give another")
    if reason is not None:
        raise UserError(f"{flag} {url}: {reason}; give one that begins with https:// or http://")


async def send(url: str, body: bytes, gate: Gate, seconds: float) -> str | None:
    """POST JSON, once, and follow no redirect. Returns why it did not arrive; None where the answer says it did."""
    target = parsed(url)
    reason = "bad url" if target is None else refusal(target, gate)
    if target is None or reason is not None:
        return reason
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Checked(gate), use_dns_cache=False),
        trust_env=False,  # a proxy would connect to addresses nobody has checked
        headers={hdrs.CONTENT_TYPE: "application/json", hdrs.USER_AGENT: "vlp/1.0"},
    )
    names = Names()
    try:
        async with session, asyncio.timeout(seconds):
            host = target.raw_host or ""
            if literal(host) is None:
                found_addresses.set(await names(host))
            async with session.post(target, data=body, allow_redirects=False) as response:
                return None if response.status < 300 else f"http {response.status}"
    except TimeoutError:
        return f"no answer in {seconds:g} s"
    except RefusedAddressError:
        return "refused address"
    except (socket.gaierror, aiohttp.ClientError, OSError) as error:
        return _cause(error)
    finally:
        await names.close()


def _cause(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "name not found"
    return type(error).__name__ if isinstance(error, aiohttp.ClientResponseError) else str(error) or "connection failed"
