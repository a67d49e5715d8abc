"""How long a link, and the robots.txt that it waits for, may take, and how long it pauses in between."""

import pytest

from vlp_core.web.addresses import Gate
from vlp_core.web.fetcher import Hop
from vlp_core.web.link import Answer, Link, parsed
from vlp_core.web.robots import ROBOTS_S
from vlp_core.web.settings import Fetch
from vlp_core.web.trip import Trip, after, begin, robots_trip

URL = "http://a.example/1.jpg"


@pytest.mark.parametrize("deadline_s", [ROBOTS_S / 2, 2 * ROBOTS_S])
def test_a_host_that_keeps_silent_about_its_robots_txt_is_given_up_sooner_than_one_that_serves(
    deadline_s: float,
) -> None:
    """All its links wait for that file, and whole runs for hosts which were met late."""
    fetch = Fetch(deadline_s=deadline_s)
    url = parsed(URL)
    assert url is not None
    assert begin(Trip(0, Link(URL), url, fetch.max_redirects), fetch) == deadline_s
    assert begin(robots_trip("http://a.example:80"), fetch) == min(deadline_s, ROBOTS_S)


@pytest.mark.parametrize("asked_s", [0.0, 9.0])
def test_pauses_between_attempts_double_and_are_as_long_as_the_server_asks_for(asked_s: float) -> None:
    url = parsed(URL)
    assert url is not None
    fetch, answer = Fetch(pause_s=2.0, retries=3, budget_s=1000.0), Answer(reason="connection lost")
    trip = Trip(0, Link(URL), url, fetch.max_redirects)
    for number in range(3):
        begin(trip, fetch)
        pause = after(trip, Hop("lost", answer, retry_s=asked_s), 0.1, fetch, Gate())
        assert isinstance(pause, float)
        assert max(asked_s, 2**number) <= pause <= max(asked_s, 3 * 2**number)
    begin(trip, fetch)
    assert isinstance(after(trip, Hop("lost", answer, retry_s=asked_s), 0.1, fetch, Gate()), Answer)
