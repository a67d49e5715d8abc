"""How many requests may be sent, so that decoders always have something to do and little waits for them."""

from math import exp

_ENOUGH = 64  # answers that may wait for a thread: a kill would cost them
_SMOOTH_S = 2.0  # longer than most answers take


class Pace:
    """Answers take a while to come: a bound on those that wait would stop all requests and start all again, and threads
    would be idle in between. Bounded is the sum of both, by what is usually on its way and the answers that may wait.

    Where threads bound the rate, what is on its way is that rate times the time of an answer (Little's law), whatever
    the bound, and so as many wait as may. Where the web bounds it, nothing waits, and more is sent until threads do.
    """

    def __init__(self, threads: int) -> None:
        self._enough = _ENOUGH * threads
        self._usual, self._at = 0.0, 0.0

    def starts(self, flying: int, waiting: int, now: float) -> int:
        """Requests that may be sent now, with so many on their way of late and so many answers waiting."""
        self._usual += (1 - exp((self._at - now) / _SMOOTH_S)) * (flying - self._usual)
        self._at = now
        on_their_way = self._usual if waiting > self._enough / 4 else 2 * self._usual
        return int(on_their_way) + self._enough - flying - waiting
