"""Addresses of services: whether anybody listens there."""

import socket
from urllib.parse import urlsplit


def knock(uri: str, *, timeout_s: float = 10.0) -> None:
    """OSError or ValueError where nobody listens at an http(s) address; clients themselves would try for minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((parts.hostname or "", port), timeout=timeout_s).close()
