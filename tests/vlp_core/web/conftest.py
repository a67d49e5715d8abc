import errno
from asyncio import AbstractEventLoop
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator
from ipaddress import ip_address
from socket import socket
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def fence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Who sets out for an address beyond this machine does not get there, and fails the test."""
    strayed: list[Any] = []
    connect = BaseSelectorEventLoop.sock_connect

    async def connect_here(loop: AbstractEventLoop, sock: socket, address: Any) -> None:
        to = ip_address(address[0])
        to = getattr(to, "ipv4_mapped", None) or to
        if not (to.is_loopback or to.is_unspecified):
            strayed.append(address)
            raise OSError(errno.ENETUNREACH, "beyond the fence")
        await connect(loop, sock, address)  # type: ignore[arg-type]

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", connect_here)
    yield
    assert not strayed
