"""Look-ups against a name server on loopback: once a host, none that hangs in the way of others."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.vlp_core.web.fetching import BODY, always, get_all
from tests.vlp_core.web.site import Site
from vlp_core.miniature.names import NameServer, Says, Zone
from vlp_core.web.link import Link


@contextmanager
def name_server(zone: Zone) -> Iterator[tuple[str, Counter[str]]]:
    """A name server in a thread: its address, and the questions it is asked, by name."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server, address = asyncio.run_coroutine_threadsafe(NameServer.start(zone), loop).result(10)
        yield address, server.asked
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_each_name_is_looked_up_once_and_names_that_hang_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred hang: more than may be asked for at once."""
    monkeypatch.setattr("vlp_core.web.resolver._MOST_S", 0.4)

    def zone(name: str) -> str | Says:
        return Says.NOTHING if name.startswith("hangs") else "127.0.0.1"

    with Site(always()) as site, name_server(zone) as (address, asked):
        hosts = [f"hangs{n}.example" for n in range(300)] + [f"{n % 50}.example" for n in range(200)]
        links = [Link(f"http://{host}:{site.port}/{n}") for n, host in enumerate(hosts)]
        since = time.monotonic()
        answers = get_all(links, nameservers=(address,), allow_private=("127.0.0.1",))
    assert [answer.reason for answer in answers] == ["name server does not answer"] * 300 + [None] * 200
    assert {answer.body for answer in answers[300:]} == {BODY}
    assert set(asked.values()) == {1} and len(asked) == 350
    assert time.monotonic() - since < 20, "one after the other, they would take two minutes"


@pytest.mark.parametrize(
    ("says", "reason", "questions"),
    [(Says.NO_SUCH_NAME, "name not found", 1), ("127.0.0.2", "refused address", 1), (Says.BUSY, "name not found", 2)],
)
def test_what_a_name_server_says_is_believed(
    says: Says | str, reason: str, questions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALDOMAIN", "inside.example")
    with name_server(lambda _: says) as (address, asked):
        links = [Link(f"http://no.a.example/{n}") for n in range(3)]
        answers = get_all(links, nameservers=(address,), retries=1)
    assert [answer.reason for answer in answers] == [reason] * 3
    assert asked["no.a.example"] >= questions and set(asked) == {"no.a.example"}, "no search domain is tried"
