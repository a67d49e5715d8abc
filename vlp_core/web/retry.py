"""Whether to ask again, and after how long."""

import time

from vlp_core.identity import generator
from vlp_core.web.dates import seconds_of

_PASSING = frozenset({408, 425, 429})  # we were too slow, too early (RFC 8470, 5.2), or too many


def worth_retrying(status: int) -> bool:
    """Whether a server's answer may be another one soon: 408, 425, 429 and 5xx; 404 and 410 are final."""
    return status in _PASSING or 500 <= status < 600


_MOST_DOUBLINGS = 40  # of a second that is 35,000 years; a float holds no more than 1,023


def pause_before(attempt: int, *, first_s: float, key: str) -> float:
    """Seconds before attempt 1, 2, …: doubling, times 0.5 to 1.5 by `key`, so that links do not come back in step."""
    return first_s * 2 ** min(attempt - 1, _MOST_DOUBLINGS) * (0.5 + generator("pause", key, attempt).random())


def retry_after(header: str | None, now: float | None = None) -> float:
    """Seconds that a Retry-After header (seconds or an HTTP date) asks for; 0 where it is missing or unreadable."""
    if header is None:
        return 0.0
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header)
    until = seconds_of(header)
    return 0.0 if until is None else max(0.0, until - (time.time() if now is None else now))
