"""How many connections a process may have open."""

import resource
from dataclasses import dataclass

_OTHERS = 512  # descriptors for files, pipes and what else the process has; open shards have half of them
_EACH = 2  # a connection, and one that a second address is tried by
_KEPT_S, _KEPT_LEAST_S = 4.0, 0.5  # many servers close a connection that is idle for 5 s: no request must meet that
_FASTEST = 1024  # answers a second, each of which leaves a connection idle


@dataclass(frozen=True)
class Connections:
    """Requests in flight at once, and seconds for which the connection of each is kept for the next."""

    at_once: int
    kept_s: float


def connections_for(wanted: int) -> Connections:
    """At most `wanted` requests in flight; the process's limit of descriptors is raised for them as far as it goes.

    Where it does not go far enough connections are kept for a shorter time, and then fewer are open.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OTHERS + _EACH * wanted + int(_FASTEST * _KEPT_S)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return Connections(wanted, _KEPT_S)
    at_once = max(1, min(wanted, (soft - _OTHERS) // (_EACH + 1)))
    kept_s = (soft - _OTHERS - _EACH * at_once) / _FASTEST
    return Connections(at_once, min(_KEPT_S, max(_KEPT_LEAST_S, kept_s)))
