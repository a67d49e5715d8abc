"""Trips that wait: for the turn of their host, or for the end of a pause of their own. No I/O; times are given."""

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import count, islice
from math import inf

from vlp_core.web.trip import Trip
from vlp_core.web.upcoming import Upcoming

_FEW = 8
"""Origins that come up at once for the first time: a name, a robots.txt and maybe a long silence stand before each, and
the answers of others keep the CPU busy meanwhile."""


class Waiting:
    """Queues by origin, in list order; an origin comes up when asking for it can help."""

    def __init__(self, kept_s: float) -> None:
        """`kept_s`: seconds that a connection is left open for the next request."""
        self._queues: dict[str, deque[Trip]] = {}
        self._new: OrderedDict[str, None] = OrderedDict()  # origins that have not come up yet, in order
        self._known: set[int] = set()  # hashes of those that have: 70 bytes each, and two may share one
        self._upcoming = Upcoming(kept_s)  # those that have
        self._nudged: set[str] = set()
        self._paused: list[tuple[float, int, Trip]] = []
        self._numbers = count()

    def add(self, trip: Trip, now: float, *, first: bool = False) -> None:
        """Let a trip wait for its origin's turn; `first`: before those that wait."""
        origin = trip.origin
        queue = self._queues.get(origin)
        if queue is None:
            queue = self._queues[origin] = deque()
            if first or hash(origin) in self._known:
                self.again(origin, now)
            else:
                self._new[origin] = None
        if first:
            queue.appendleft(trip)
        else:
            queue.append(trip)

    def pause(self, trip: Trip, until: float) -> None:
        heapq.heappush(self._paused, (until, next(self._numbers), trip))

    def withdraw(self) -> list[Trip]:
        """The trips that were recalled, which wait no longer."""
        gone = [trip for _, _, trip in self._paused if trip.recalled]
        if gone:
            self._paused = [entry for entry in self._paused if not entry[2].recalled]
            heapq.heapify(self._paused)
        for origin, queue in list(self._queues.items()):
            here = [trip for trip in queue if trip.recalled]
            if len(here) == len(queue):
                self._forget(origin)
            elif here:
                self._queues[origin] = deque(trip for trip in queue if not trip.recalled)
            gone += here
        return gone

    def wake(self, now: float) -> None:
        """Let those whose pause is over wait for their turn, before others."""
        while self._paused and self._paused[0][0] <= now:
            self.add(heapq.heappop(self._paused)[2], now, first=True)

    def again(self, origin: str, when: float, *, nudged: bool = False) -> None:
        """Let an origin come up at a time; `nudged`: or as soon as something changes there (`nudge`)."""
        if origin not in self._queues:
            return
        self._upcoming.put(origin, when, self.waiting(origin))
        if nudged:
            self._nudged.add(origin)
        else:
            self._nudged.discard(origin)

    def nudge(self, origin: str, now: float) -> None:
        """Something changed at an origin: it comes up now, if it was only waiting for that."""
        if origin in self._nudged:
            self.again(origin, now)

    def sent(self, origin: str) -> None:
        """A request is on its way."""
        self._upcoming.sent(origin)

    def came(self, origin: str, now: float, *, answered: bool) -> None:
        """A request is at its end; its connection is left open where it was answered."""
        self._upcoming.came(origin, now, self.waiting(origin), answered=answered)

    def due(self, now: float, most: int) -> list[str]:
        """At most so many origins whose time has come. Each is to be put back by `again`, or emptied.

        Of new ones a few, for half of the places at first, so that they neither wait for all others nor hold them up.
        """
        found = self._begun(min(_FEW, most // 2))
        found += islice(self._upcoming.due(now), max(0, most - len(found)))
        return found + self._begun(min(_FEW, most) - len(found))

    def _begun(self, most: int) -> list[str]:
        """At most so many origins that come up for the first time."""
        found = [self._new.popitem(last=False)[0] for _ in range(min(most, len(self._new)))]
        self._known.update(map(hash, found))
        for origin in found:
            self._upcoming.asked(origin)
        return found

    def next_at(self) -> float | None:
        """When something will come up, None where nothing waits."""
        if self._new:
            return -inf
        times = [self._upcoming.next_at(), self._paused[0][0] if self._paused else None]
        return min((at for at in times if at is not None), default=None)

    def head(self, origin: str) -> Trip:
        return self._queues[origin][0]

    def waiting(self, origin: str) -> int:
        return len(self._queues.get(origin, ()))

    def take(self, origin: str) -> Trip | None:
        """The next trip of an origin."""
        queue = self._queues.get(origin)
        if queue is None:
            return None
        trip = queue.popleft()
        if not queue:
            self._forget(origin)
        return trip

    def all(self, origin: str) -> Iterator[Trip]:
        yield from self._queues.get(origin, ())

    def take_all(self, origin: str) -> list[Trip]:
        trips = list(self.all(origin))
        self._forget(origin)
        return trips

    def _forget(self, origin: str) -> None:
        self._queues.pop(origin, None)
        self._new.pop(origin, None)
        self._upcoming.forget(origin)
        self._nudged.discard(origin)
