"""How many requests are sent, in a played web: what is sent comes after a while, and threads take so many a second."""

import heapq
import random

import pytest

from vlp_core.web.pace import Pace

_STEP_S, _SECONDS = 0.005, 40


def played(*, rate: float, answer_s: float, threads: int) -> tuple[float, int]:
    """The share of `rate` that is reached, and the most answers that wait, in the second half of a crawl."""
    pace, draw, late = Pace(threads), random.Random(0), _SECONDS / 2
    coming: list[float] = []
    waiting = handled = most = 0
    could = 0.0
    for step in range(round(_SECONDS / _STEP_S)):
        now = step * _STEP_S
        while coming and coming[0] <= now:
            heapq.heappop(coming)
            waiting += 1
        could = min(could + rate * _STEP_S, float(waiting))
        taken = int(could)
        waiting, could = waiting - taken, could - taken
        if now >= late:
            handled, most = handled + taken, max(most, waiting)
        for _ in range(pace.starts(len(coming), waiting, now)):
            heapq.heappush(coming, now + answer_s * draw.uniform(0.2, 1.8))
    return handled / (rate * late), most


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("answer_s", [0.0, 0.02, 0.3, 1.0])
def test_threads_have_always_something_to_do_and_little_waits_for_them(threads: int, answer_s: float) -> None:
    """Whether answers take no time, or as long as threads need for hundreds of others."""
    share, most = played(rate=450.0 * threads, answer_s=answer_s, threads=threads)
    assert share > 0.97 and most <= 100 * threads
