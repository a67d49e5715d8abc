"""How many connections a process may have open."""

import resource

_OTHERS = 512  # descriptors for files, pipes and what else the process has; open shards have half of them
_EACH = 3  # a connection, one that is kept for a while after it, and one that a second address is tried by


def connections_for(wanted: int) -> int:
    """At most `wanted` requests in flight; the process's limit of descriptors is raised for them as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OTHERS + _EACH * wanted
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, min(wanted, (soft - _OTHERS) // _EACH))
    return wanted
