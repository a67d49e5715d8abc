"""How long a link, and the robots.txt that it waits for, may take."""

import pytest

from vlp_core.web.link import Link, parsed
from vlp_core.web.robots import ROBOTS_S
from vlp_core.web.settings import Fetch
from vlp_core.web.trip import Trip, begin, robots_trip

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
