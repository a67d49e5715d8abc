"""A name server on loopback (RFC 1035) that answers as it is told, for trying look-ups without a network."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_address
from typing import cast


class Says(Enum):
    """What there is to say of a name that has no address."""

    NO_SUCH_NAME = 3
    BUSY = 2
    NOTHING = -1  # at all: who asks waits


Zone = Callable[[str], str | Says]
"""A name in lower case -> its one address, IPv4 or IPv6, or that it has none."""
_ADDRESS, _ADDRESS_6, _INTERNET = 1, 28, 1  # RFC 3596: 28 is AAAA


class NameServer(asyncio.DatagramProtocol):
    """Answers for addresses, `delay` seconds after each question; `asked` counts those for IPv4 addresses, by name."""

    def __init__(self, zone: Zone, delay: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self._zone, self._delay = zone, delay

    @classmethod
    async def start(cls, zone: Zone, delay: float = 0.0) -> tuple["NameServer", str]:
        """Serve on a port of the system's choice in the running loop; gives "127.0.0.1:PORT" too."""
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(
            lambda: cls(zone, delay), local_addr=("127.0.0.1", 0), family=socket.AF_INET
        )
        return server, "127.0.0.1:{1}".format(*transport.get_extra_info("sockname"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, end = _question(data)
        if kind == _ADDRESS:
            self.asked[name] += 1
        said = self._zone(name)
        if said is not Says.NOTHING:
            answer = _answer(data, end, kind, said)
            asyncio.get_running_loop().call_later(self._delay, self._transport.sendto, answer, addr)


def _question(data: bytes) -> tuple[str, int, int]:
    """The name and type that are asked for, and where the question ends."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace").lower())
        at += 1 + data[at]
    return ".".join(labels), struct.unpack_from("!H", data, at + 1)[0], at + 5


def _answer(data: bytes, end: int, kind: int, said: str | Says) -> bytes:
    code = said.value if isinstance(said, Says) else 0
    record = b""
    if isinstance(said, str) and kind == (_ADDRESS_6 if ":" in said else _ADDRESS):
        packed = ip_address(said).packed
        record = struct.pack("!HHHIH", 0xC00C, kind, _INTERNET, 60, len(packed)) + packed
    head = data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, int(bool(record)), 0, 0)
    return head + data[12:end] + record
