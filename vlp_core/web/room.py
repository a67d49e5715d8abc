"""Room in memory for bodies: bounded by bytes, however many requests are in flight."""

import asyncio
from collections import deque

_OVER = 4  # bodies that may grow where the room is used up: else all of them could wait for one another
_YOUNG_S = 1.0
_FIRST_GUESS = 100_000.0


class Claim:
    """The room that one body takes, from its first bytes until it is handled."""

    __slots__ = ("_room", "size")

    def __init__(self, room: "Room") -> None:
        self._room, self.size = room, 0

    async def grow(self, count: int, deadline: asyncio.Timeout) -> None:
        """Take `count` bytes more. Waits where the room is used up, for which the server cannot be blamed: the deadline
        moves."""
        if self._room.take(self, count):
            return
        end, since = deadline.when(), asyncio.get_running_loop().time()
        deadline.reschedule(None)
        await self._room.wait(self, count)
        deadline.reschedule(end and end + asyncio.get_running_loop().time() - since)

    def release(self) -> None:
        self._room.give_back(self)


class Room:
    """`most` bytes for bodies. Beyond them `_OVER` bodies may still grow to their end, so that there is one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._over: set[Claim] = set()
        self._queue: deque[tuple[Claim, int, asyncio.Future[None]]] = deque()
        self._mean = _FIRST_GUESS

    @property
    def held(self) -> int:
        return self._held

    def starts(self, young: int) -> int:
        """Requests that may be sent now, with `young` of them just on their way: a half of the room is left to them."""
        return int((self._most / 2 - self._held) / self._mean) - young

    def ended(self, size: int) -> None:
        """A body of `size` bytes has come to its end."""
        self._mean += 0.02 * (size - self._mean)
        self._mean = max(self._mean, 1.0)

    def take(self, claim: Claim, count: int) -> bool:
        """Add to a claim where there is room."""
        if not self._fits(claim, count):
            return False
        self._held += count
        claim.size += count
        if self._held > self._most:
            self._over.add(claim)
        return True

    async def wait(self, claim: Claim, count: int) -> None:
        """Add to a claim when there is room, first come first served."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((claim, count, turn))
        await turn

    def give_back(self, claim: Claim) -> None:
        self._held -= claim.size
        claim.size = 0
        self._over.discard(claim)
        while self._queue:
            waiting, count, turn = self._queue[0]
            if not turn.done() and not self.take(waiting, count):
                return
            self._queue.popleft()
            if not turn.done():
                turn.set_result(None)

    def _fits(self, claim: Claim, count: int) -> bool:
        return self._held + count <= self._most or claim in self._over or len(self._over) < _OVER


class Young:
    """Counts requests in flight that were sent within the last second; most answers come by then."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, object]] = deque()
        self._flying: set[object] = set()

    def sent(self, request: object, now: float) -> None:
        self._sent.append((now, request))
        self._flying.add(request)

    def came(self, request: object) -> None:
        self._flying.discard(request)

    def count(self, now: float) -> int:
        while self._sent and self._sent[0][0] < now - _YOUNG_S:
            self._flying.discard(self._sent.popleft()[1])
        return len(self._flying)
