"""The book of hosts: what is known of each, and whose turn it is to ask it. Shared by all fetchers of a cluster.

Bookkeeping alone: times are given, nothing waits and nothing is sent. Politeness is kept here for the host, not for the
link: Retry-After (RFC 9110, 10.2.3), growing pauses, requests at once and per second, Crawl-delay.
"""

import secrets
import time
import zlib
from collections.abc import Iterable, Sequence
from itertools import count

from vlp_core.web.reasons import NO_SOCKET
from vlp_core.web.retry import pause_before
from vlp_core.web.robots import KEPT_S
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import Ask, Asked, Grant, Looked, Report, RobotsRead

POLL_S = 1.0
"""When to ask again where only somebody else's report can change the answer."""
ROOM = 1.05
"""Turns are this much further apart than the limit says: on their way, requests bunch."""
SILENCES = 2
"""Time-outs after which a host that never answered is given up."""
STRIKES = 8
"""Failures in a row after which a host that did answer is given up."""
TEXTS = 2**28
"""Bytes of robots.txt that are kept, compressed; only ill will has more."""


class _Host:
    """What holds for all ports of a name or address."""

    __slots__ = ("addresses", "dead", "known_until", "leases", "looking_until", "next_at", "paused", "refusals", "why")

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.dead: str | None = None
        self.known_until = self.looking_until = 0.0
        self.leases: dict[int, float] | None = None  # with the time at which each runs out
        self.next_at = self.paused = 0.0
        self.refusals = 0  # 429s and 503s in a row
        self.why: str | None = None  # it is paused


class _Origin:
    """What holds for one scheme, host and port."""

    __slots__ = ("answered", "dead", "delay", "failed", "known_until", "reading_until", "rules", "strikes")

    def __init__(self) -> None:
        self.rules = b""  # robots.txt, compressed
        self.delay = 0.0
        self.failed: str | None = None  # why robots.txt could not be had
        self.known_until = self.reading_until = 0.0
        self.answered = False
        self.strikes = 0
        self.dead: str | None = None


class Book:
    """Decides for each host who may ask it now; `now` is any clock that does not go back, in seconds."""

    def __init__(self, fetch: Fetch) -> None:
        self._most = fetch.per_host
        self._interval = ROOM / fetch.per_host_rate if fetch.per_host_rate else 0.0
        self._pause = fetch.pause_s
        self._patience = fetch.budget_s
        # A request's deadline stands still while its body waits for room (`room.Claim`), the lease does not. One that
        # runs out so lets another request to its host begin, at the host's rate, and no body waits a deadline long but
        # where decoding takes that long: not worth a word to the book each time that a lease goes on.
        self._lease = 2 * fetch.deadline_s + fetch.connect_s
        self._errand = 2 * fetch.budget_s
        self._hosts: dict[str, _Host] = {}
        self._origins: dict[str, _Origin] = {}
        self._texts: dict[bytes, bytes] = {}  # many hosts have the same robots.txt
        self._texts_size = 0
        # A book that was lost leaves leases behind; what is told of them late must give back none of this one.
        self._numbers = count(secrets.randbits(62))

    def ask(self, asks: Sequence[Ask], now: float) -> list[Grant]:
        """A grant for each ask: turns, an errand, a wait or a refusal (see `Grant`)."""
        return [self._grant(ask, now) for ask in asks]

    def tell(self, reports: Iterable[Report], now: float) -> None:
        """Take what fetchers found out."""
        for report in reports:
            match report:
                case Asked():
                    self._asked(report, now)
                case Looked():
                    self._looked(report, now)
                case RobotsRead():
                    self._robots_read(report, now)

    def begin_run(self) -> None:
        """Another run begins: names are looked up anew, hosts that were given up and robots.txt that could not be had
        are asked again, and nobody waits for what a killed one was to find out. Pauses and turns stay."""
        for host in self._hosts.values():
            host.dead = None
            host.known_until = host.looking_until = 0.0
        for origin in self._origins.values():
            origin.dead, origin.strikes, origin.reading_until = None, 0, 0.0
            if origin.failed is not None:
                origin.failed, origin.known_until = None, 0.0

    def is_paused(self, now: float) -> bool:
        """Whether a host is to be left alone for a while."""
        return any(now < host.paused for host in self._hosts.values())

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
        return host

    def _origin(self, name: str) -> _Origin:
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = _Origin()
        return origin

    def _grant(self, ask: Ask, now: float) -> Grant:
        host, origin = self._host(ask.host), self._origin(ask.origin)
        dead = host.dead or origin.dead
        if dead is not None:
            return Grant(refused=dead)
        if ask.lookup and now >= host.known_until:
            if now < host.looking_until:
                return Grant(wait_s=POLL_S, until_told=True)
            host.looking_until = now + self._errand
            return Grant(errand="lookup", wait_s=POLL_S, until_told=True)
        if ask.robots and now >= origin.known_until:
            if now < origin.reading_until:
                return Grant(wait_s=POLL_S, until_told=True)
            origin.reading_until = now + self._errand
            return Grant(errand="robots")
        if ask.robots and origin.failed is not None:
            return Grant(refused=origin.failed)
        return self._turns(ask, host, origin, now)

    def _turns(self, ask: Ask, host: _Host, origin: _Origin, now: float) -> Grant:
        ready = max(host.paused, host.next_at)
        if now < ready:
            if ready - now <= self._patience:
                return Grant(wait_s=ready - now)
            return Grant(refused=host.why if now < host.paused else "robots.txt: crawl delay")
        apart = max(self._interval, origin.delay)
        # Whoever was told to wait is first asked once: all at once would be refused at once.
        most = 1 if host.refusals else self._most
        turns = min(ask.turns, most - self._in_flight(host, now), 1 if apart else ask.turns)
        if turns <= 0:
            return Grant(wait_s=POLL_S, until_told=True)
        host.next_at = now + apart
        leases = tuple(next(self._numbers) for _ in range(turns))
        host.leases = (host.leases or {}) | dict.fromkeys(leases, now + self._lease)
        rules = zlib.decompress(origin.rules).decode() if origin.rules and not ask.has_rules else ""
        return Grant(
            leases=leases,
            # Beyond all patience the next ask is refused: nobody is to wait for that.
            wait_s=apart if 0 < apart <= self._patience else POLL_S,
            until_told=not apart,
            addresses=host.addresses,
            rules=rules if ask.robots and not ask.has_rules else None,
        )

    def _in_flight(self, host: _Host, now: float) -> int:
        """Turns that are out; one whose holder is not heard of runs out, so that a dead worker blocks nobody."""
        if host.leases is None:
            return 0
        for lease in [lease for lease, end in host.leases.items() if end <= now]:
            del host.leases[lease]
        return len(host.leases)

    def _asked(self, report: Asked, now: float) -> None:
        host, origin = self._host(report.host), self._origin(report.origin)
        if host.leases is not None:
            host.leases.pop(report.lease, None)
            host.leases = host.leases or None
        if report.how == "answered":
            host.refusals = origin.strikes = 0
            origin.answered = True
        elif report.how == "busy":
            self._refused(host, report, now)
            origin.answered = True
        elif report.how in ("unreached", "silent"):
            origin.strikes += 1
            least = STRIKES if origin.answered else SILENCES if report.how == "silent" else 1
            if origin.strikes >= least:
                origin.dead = report.reason

    def _refused(self, host: _Host, report: Asked, now: float) -> None:
        pause = report.retry_after_s
        if now >= host.paused:  # of several that were in flight, one makes the pause grow
            host.refusals += 1
            pause = max(pause, pause_before(host.refusals, first_s=self._pause, key=report.host))
        host.paused = max(host.paused, now + pause)
        host.why = report.reason

    def _looked(self, report: Looked, now: float) -> None:
        host = self._host(report.host)
        host.addresses, host.dead = report.addresses, report.failed
        host.known_until = now + KEPT_S

    def _robots_read(self, report: RobotsRead, now: float) -> None:
        origin = self._origin(report.origin)
        packed = zlib.compress(report.text.encode()) if report.text else b""
        if packed not in self._texts:
            if self._texts_size + len(packed) > TEXTS:
                self._forget_texts()
            self._texts_size += len(packed)
        origin.rules = self._texts.setdefault(packed, packed)
        origin.delay, origin.failed = report.delay_s, report.failed
        ours = report.failed is not None and report.failed.endswith(NO_SOCKET)
        origin.known_until, origin.reading_until = now + (self._patience if ours else KEPT_S), 0.0

    def _forget_texts(self) -> None:
        """There is no more room: what is asked on has its robots.txt read once more."""
        for origin in self._origins.values():
            if origin.rules:
                origin.rules, origin.known_until = b"", 0.0
        self._texts, self._texts_size = {}, 0


class Here:
    """A book in this process, behind the interface that one elsewhere has (`turns.AsyncBook`)."""

    def __init__(self, fetch: Fetch) -> None:
        self._book = Book(fetch)

    async def ask(self, asks: Sequence[Ask]) -> list[Grant]:
        return self._book.ask(asks, time.monotonic())

    async def tell(self, reports: Sequence[Report]) -> None:
        self._book.tell(reports, time.monotonic())
