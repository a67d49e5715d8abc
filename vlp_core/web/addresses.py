"""Which addresses may be connected to: public ones, and what the user named."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from vlp_core.errors import UserError

Address = IPv4Address | IPv6Address

# Not for the public internet, though `is_global` of some Python versions says so. At the last Azure tells its guests
# what they are set up with (learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
_REFUSED_V4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "168.63.129.16/32")))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; IPv4 inside IPv6 (mapped, NAT64, 6to4) is judged as itself."""
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        return address in _GLOBAL_UNICAST and address.is_global and not any(address in net for net in _REFUSED_V6)
    return address.is_global and not address.is_multicast and not any(address in net for net in _REFUSED_V4)


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return None


def literal(host: str) -> Address | None:
    """The address a host spells itself, None for a name.

    Takes every spelling the C library takes: 127.1, 0x7f000001, 0177.0.0.1, 2130706433, a dot at the end, zones.
    """
    host = host.strip("[]").rstrip(".")
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError:
            return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def is_name(host: str) -> bool:
    """Whether an HTTP client looks a host up: it takes what has a colon, or digits and dots alone, for an address."""
    return ":" not in host and not host.replace(".", "").isdigit()


def name_of(host: str) -> str:
    """A host's name as it is compared: lower case, no dot at the end."""
    return host.lower().rstrip(".")


@dataclass(frozen=True)
class Allowed:
    """An exception to the rule: a network or a name, at one port or at all."""

    network: IPv4Network | IPv6Network | None
    name: str | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read HOST:PORT, ADDRESS or NETWORK/BITS; UserError where it is none of them."""
        try:
            return cls(ip_network(text.strip("[]")), None, None)
        except ValueError:
            pass
        host, port = _host_port(text)
        if port is None or not host:
            raise UserError(
                f"--fetch.allow-private {text!r}: give HOST:PORT, an address or a network such as 10.0.0.0/8"
            )
        address = literal(host)
        return cls(ip_network(address), None, port) if address is not None else cls(None, name_of(host), port)

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Whether connecting to this address, reached under this host, is what was allowed."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return self.name == name_of(host)


@dataclass(frozen=True)
class Mapping:
    """Names (a glob) and the address that serves them."""

    pattern: str
    address: Address
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NAME=ADDRESS:PORT; UserError where it is not that."""
        pattern, _, target = text.partition("=")
        host, port = _host_port(target)
        address = literal(host) if host else None
        if not pattern or address is None or port is None:
            raise UserError(
                f"--fetch.resolve {text!r}: give NAME=ADDRESS:PORT, such as '*.test=127.0.0.1:8765' (* in NAME matches)"
            )
        return cls(name_of(pattern), address, port)


class Gate:
    """Decides for each hop: where a name is served, and whether an address may be connected to."""

    def __init__(self, *, allow_private: Iterable[str] = (), resolve: Iterable[str] = ()) -> None:
        self._allowed = [Allowed.parse(text) for text in allow_private]
        self._mappings = [Mapping.parse(text) for text in resolve]

    def mapped(self, host: str) -> Mapping | None:
        """The mapping of a name, the first that matches. It holds for names only, never for an address in a link."""
        return next((entry for entry in self._mappings if fnmatchcase(name_of(host), entry.pattern)), None)

    def allows(self, host: str, address: str, port: int) -> bool:
        """Whether `address`, found for `host`, may be connected to at `port`."""
        found = ip_address(address)
        inner = _inner(found) if isinstance(found, IPv6Address) else None
        return is_public(found) or any(entry.covers(host, inner or found, port) for entry in self._allowed)


def _host_port(text: str) -> tuple[str, int | None]:
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        return host, None
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return host, None  # an IPv6 address with a port stands in brackets
    return host, int(port)
