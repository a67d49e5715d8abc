"""Which origin comes up next: a connection costs as much as a request, and who is mute may be so for long."""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterator
from itertools import cycle

Entry = tuple[float, int, str]
_MANY = 16
"""Links of an origin that may wait for the connection which another one uses; with more it could outlast the list."""


class Upcoming:
    """Origins that wait, each until its time; of those whose time has come a kind goes before others.

    Most turns go to those that have a connection to use, which is kept for `kept_s` seconds, and a fourth to those that
    have not answered since they were asked: they take little work and a long time, and would come to their end long
    after all others. One in eight goes to those that have no connection, so that none of these waits for all links of
    others. Whose few links may soon use a connection that is in use comes last.
    """

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._connected: list[Entry] = []
        self._mute: list[Entry] = []
        self._closed: list[Entry] = []
        self._busy: list[Entry] = []
        self._heaps = self._connected, self._mute, self._closed, self._busy
        connected = self._heaps
        mute = self._mute, self._connected, self._closed, self._busy
        closed = self._closed, self._connected, self._mute, self._busy
        self._orders = cycle([connected, connected, mute, connected, connected, mute, connected, closed])
        self._entry: dict[str, Entry] = {}  # the one of each origin that counts; others are stale
        self._unanswered: set[str] = set()  # origins that were asked, and have not answered since
        self._flying = Counter[str]()  # requests on their way
        self._kept: OrderedDict[str, float] = OrderedDict()  # when an origin's last answer left a connection open
        self._number = 0

    def put(self, origin: str, when: float, links: int) -> None:
        """Let an origin with so many links come up at a time, and no more at the one that was set before."""
        self._number += 1
        entry = self._entry[origin] = (when, self._number, origin)
        heapq.heappush(self._heap(origin, links), entry)
        if sum(map(len, self._heaps)) > 2 * len(self._entry) + 64:
            self._clear()

    def asked(self, origin: str) -> None:
        """It comes up for the first time."""
        self._unanswered.add(origin)

    def sent(self, origin: str) -> None:
        """A request is on its way."""
        self._flying[origin] += 1

    def came(self, origin: str, now: float, links: int, *, answered: bool) -> None:
        """A request is at its end; its connection is left open where it was answered."""
        self._close(now)
        self._flying[origin] -= 1
        if not self._flying[origin]:
            del self._flying[origin]
        if answered:
            self._kept[origin] = now
            self._kept.move_to_end(origin)
            self._unanswered.discard(origin)
        elif links:
            self._unanswered.add(origin)
        if origin in self._entry:
            self.put(origin, self._entry[origin][0], links)

    def forget(self, origin: str) -> None:
        """It has no links any more."""
        self._entry.pop(origin, None)
        self._unanswered.discard(origin)

    def due(self, now: float) -> Iterator[str]:
        """Origins whose time has come, which have to be `put` again."""
        self._close(now)
        while (origin := self._next(now)) is not None:
            yield origin

    def next_at(self) -> float | None:
        """When one comes up, or a time before that; None where none waits."""
        return min((heap[0][0] for heap in self._heaps if heap), default=None)

    def _heap(self, origin: str, links: int) -> list[Entry]:
        if origin in self._flying and links <= _MANY:
            return self._busy
        if origin in self._unanswered:
            return self._mute
        return self._connected if origin in self._kept or origin in self._flying else self._closed

    def _next(self, now: float) -> str | None:
        for heap in next(self._orders):
            while heap and heap[0][0] <= now:
                entry = heapq.heappop(heap)
                origin = entry[2]
                if self._entry.get(origin) is not entry:
                    continue
                if heap is self._connected and origin not in self._kept and origin not in self._flying:
                    heapq.heappush(self._closed, entry)  # nobody has used its connection in time
                    continue
                del self._entry[origin]
                return origin
        return None

    def _close(self, now: float) -> None:
        """Connections are, that were left open long enough."""
        while self._kept and next(iter(self._kept.values())) < now - self._kept_s:
            self._kept.popitem(last=False)

    def _clear(self) -> None:
        """Most entries are stale, which else are left where they are until their time."""
        for heap in self._heaps:
            heap[:] = [entry for entry in heap if self._entry.get(entry[2]) is entry]
            heapq.heapify(heap)
