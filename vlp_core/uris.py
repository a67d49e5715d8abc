"""Addresses of services: how they may be shown, and whether anybody listens there."""

import socket
from urllib.parse import urlsplit, urlunsplit


def public_uri(uri: str) -> str:
    """The address without the user and password that it may carry: fit to be shown and stored."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def knock(uri: str, *, timeout_s: float = 10.0) -> None:
    """OSError or ValueError where nobody listens at an http(s) address; clients themselves would try for minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((parts.hostname or "", port), timeout=timeout_s).close()
