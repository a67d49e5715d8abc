import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

import pytest

from tests.forks import FORKS
from tests.vlp_core.web.fetching import always
from tests.vlp_core.web.site import Site
from vlp_core.web.crawl import crawl
from vlp_core.web.link import Link
from vlp_core.web.settings import Fetch

TRIED = """
import resource, sys
from vlp_core.web.descriptors import connections_for
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 1000))
open_at_once = connections_for(int(sys.argv[1]))
print(open_at_once.at_once, open_at_once.kept_s, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("wanted", [100, 10**9])
def test_as_many_connections_are_opened_as_the_process_may_have_descriptors(wanted: int) -> None:
    """Tried in a process of its own, with limits that every machine allows."""
    said = subprocess.run([sys.executable, "-c", TRIED, str(wanted)], capture_output=True, text=True, check=True)
    connections, kept_s, soft, hard = map(float, said.stdout.split())
    assert 100 <= connections <= wanted
    assert 3 * connections < soft <= hard == 1000
    assert 0 < kept_s <= 4 and (wanted > 1000 or kept_s * 100 < soft - 2 * connections)


def _short_of_descriptors(address: str, said: Connection) -> None:
    """Three links, one after the other; while the second is asked for all descriptors are taken."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
    reasons: list[str | None] = []

    def links() -> Iterator[tuple[int, Link]]:
        yield 0, Link("http://a.test/")
        held = []
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield 1, Link("http://b.test/")
        for number in held:
            os.close(number)
        yield 2, Link("http://b.test/")

    fetch = Fetch(resolve=(f"*.test={address}",), lookahead=1, retries=0, honour_robots=False)
    crawl(links(), fetch, lambda _, answer: reasons.append(answer.reason))
    said.send(reasons)


def test_a_host_is_not_given_up_because_this_machine_has_no_socket_left() -> None:
    here, there = FORKS.Pipe()
    with Site(always()) as site:
        process = FORKS.Process(target=_short_of_descriptors, args=(site.address, there))
        process.start()
        assert here.poll(60)
        assert here.recv() == [None, "no socket left", None]
        process.join(60)
