"""A link on its way to its answer: attempts, redirects, and the seconds it has left."""

from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from yarl import URL

from vlp_core.web.addresses import Gate, is_name, literal, name_of
from vlp_core.web.fetcher import Hop
from vlp_core.web.link import Answer, Link
from vlp_core.web.retry import pause_before
from vlp_core.web.robots import REDIRECTS, ROBOTS_S, robots_url
from vlp_core.web.settings import Fetch

Key = TypeVar("Key")


@dataclass(slots=True, eq=False)
class Trip(Generic[Key]):
    """A link, and the request that it needs next; seconds count while one is in flight, not while it waits its turn."""

    key: Key | None
    link: Link
    first: URL
    most_redirects: int
    robots_of: str | None = None
    """The origin whose robots.txt this is."""
    recalled: bool = field(init=False, default=False)
    """Whether its answer is not wanted any more."""
    attempt: int = 0
    attempt_s: float = 0.0
    spent_s: float = 0.0
    redirects: int = field(init=False, default=0)
    url: URL = field(init=False)
    host: str = field(init=False)
    origin: str = field(init=False)

    def __post_init__(self) -> None:
        self.go(self.first)

    def go(self, url: URL) -> None:
        """Set out for another address."""
        self.url = url
        self.host = name_of(url.raw_host or "")
        self.origin = origin_of(url)


def origin_of(url: URL) -> str:
    """Scheme, host and port: what a robots.txt holds for."""
    host = name_of(url.raw_host or "")
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{url.port}"


def refusal(url: URL, gate: Gate) -> str | None:
    """Why a hop is not taken; addresses behind names are checked where they are connected to."""
    if url.scheme not in ("http", "https"):
        return "refused scheme" if url.scheme else "bad url"
    if not url.raw_host or url.port is None:
        return "bad url"
    address = literal(url.raw_host)
    if address is None and not is_name(url.raw_host):
        return "bad url"  # neither this check nor the one behind names would see where it leads
    if address is not None and not gate.allows(url.raw_host, str(address), url.port):
        return "refused address"
    return None


def deadline(trip: Trip, fetch: Fetch) -> float:
    """Seconds that one attempt may take."""
    return fetch.deadline_s if trip.robots_of is None else min(fetch.deadline_s, ROBOTS_S)


def begin(trip: Trip, fetch: Fetch) -> float:
    """Seconds that the next request may take; the first one of an attempt begins it."""
    if not trip.attempt_s:
        trip.attempt += 1
    return max(0.0, min(deadline(trip, fetch) - trip.attempt_s, fetch.budget_s - trip.spent_s))


def after(trip: Trip, hop: Hop, seconds: float, fetch: Fetch, gate: Gate) -> Answer | float:
    """The trip's answer; or it goes on, after a pause of so many seconds, to its `url`. The request took `seconds`."""
    trip.attempt_s += max(seconds, 1e-6)
    trip.spent_s += seconds
    if hop.leads:
        return _led(trip, hop.to, gate)
    answer = replace(hop.answer, attempts=trip.attempt)
    if hop.retry_s is None or trip.attempt > fetch.retries:
        return answer
    pause = max(hop.retry_s, pause_before(trip.attempt, first_s=fetch.pause_s, key=trip.link.url))
    if trip.spent_s + pause >= fetch.budget_s:
        return answer
    trip.spent_s += pause
    trip.attempt_s, trip.redirects = 0.0, 0
    trip.go(trip.first)
    return pause


def _led(trip: Trip, to: URL | None, gate: Gate) -> Answer | float:
    trip.redirects += 1
    reason = "bad url" if to is None else refusal(to, gate)
    if trip.redirects > trip.most_redirects:
        reason = "too many redirects"
    if to is None or reason is not None:
        return Answer(reason=reason, attempts=trip.attempt)
    trip.go(to)
    return 0.0


def robots_trip(origin: str) -> Trip:
    """The way to an origin's robots.txt, which needs nobody's leave."""
    url = robots_url(origin)
    return Trip(None, Link(str(url)), url, REDIRECTS, robots_of=origin)
