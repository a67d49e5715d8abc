"""What the book of hosts grants, at times that are given."""

from collections import Counter
from itertools import pairwise

import pytest

from vlp_core.identity import generator
from vlp_core.web.hosts import Book
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import Ask, Asked, Grant, How, Looked, RobotsRead

HOST, ORIGIN = "a.example", "http://a.example:80"


class Desk:
    """A book, a clock, and fetchers that ask about one host whose addresses and robots.txt are known."""

    def __init__(self, *, lookup: bool = False, robots: bool = False, **settings: float) -> None:
        self.book = Book(Fetch(**{"per_host": 4, "per_host_rate": 0.0, "pause_s": 1.0, "budget_s": 60.0} | settings))
        self.now, self._lookup, self._robots = 1000.0, lookup, robots

    def ask(self, turns: int = 1, **words: object) -> Grant:
        ask = Ask(**{"host": HOST, "origin": ORIGIN, "lookup": self._lookup, "robots": self._robots} | words)
        return self.book.ask(
            [Ask(**{name: getattr(ask, name) for name in ask.__slots__} | {"turns": turns})], self.now
        )[0]

    def tell(self, *reports: object) -> None:
        self.book.tell(reports, self.now)

    def came(self, lease: int, how: How = "answered", after_s: float = 0.0, **words: str) -> None:
        told = {"host": HOST, "origin": ORIGIN, "reason": {"busy": "http 429", "answered": None}.get(how, "time-out")}
        self.tell(Asked(lease=lease, how=how, retry_after_s=after_s, **told | words))


def test_no_host_has_more_requests_in_flight_than_it_may_whoever_asks() -> None:
    desk = Desk(per_host=4)
    assert len(desk.ask(turns=3).leases) == 3
    second = desk.ask(turns=3)
    assert (len(second.leases), second.until_told) == (1, True)
    full = desk.ask(turns=3)
    assert not full.leases and full.until_told and full.wait_s > 0
    desk.came(second.leases[0])
    assert len(desk.ask(turns=3).leases) == 1
    assert len(desk.ask(turns=9, host="b.example", origin="http://b.example:80").leases) == 4


def test_a_turn_of_a_worker_that_is_lost_runs_out() -> None:
    desk = Desk(per_host=1, deadline_s=20.0, connect_s=6.0)
    lost = desk.ask().leases[0]
    desk.now += 40.0
    assert not desk.ask().leases, "it may still be at work"
    desk.now += 6.1
    assert desk.ask().leases
    desk.came(lost)
    assert not desk.ask().leases, "what it says after that frees nobody else's turn"


def test_what_is_told_of_a_lost_books_turns_frees_none_of_the_next_one() -> None:
    """Fetchers outlive the book's process, and tell the new one of turns that it never gave."""
    lost, desk = Desk(per_host=4), Desk(per_host=4)
    old, new = lost.ask(turns=4).leases, desk.ask(turns=4).leases
    for lease in old:
        desk.came(lease)
    assert len(new) == 4 and not desk.ask().leases
    desk.came(new[0])
    assert len(desk.ask().leases) == 1


@pytest.mark.parametrize(("rate", "delay"), [(10.0, 0.0), (0.0, 0.5), (10.0, 0.5)])
def test_turns_are_as_far_apart_as_the_rate_and_the_crawl_delay_want(rate: float, delay: float) -> None:
    desk = Desk(robots=True, per_host_rate=rate, per_host=100)
    desk.tell(RobotsRead(ORIGIN, delay_s=delay))
    times = []
    while len(times) < 50:
        grant = desk.ask(turns=5)
        times += [desk.now] * len(grant.leases)
        desk.now += grant.wait_s if not grant.leases else 0.001
    apart = min(later - sooner for sooner, later in pairwise(times))
    assert apart >= max(delay, 1 / (rate or 9e9))


@pytest.mark.parametrize(("given_back", "most"), [(False, 4), (True, 10)], ids=["at once", "in a second"])
def test_by_default_a_host_has_4_requests_at_once_and_10_in_a_second(given_back: bool, most: int) -> None:
    usual, asked = Fetch(), 0
    desk = Desk(per_host=usual.per_host, per_host_rate=usual.per_host_rate)
    for _ in range(1000):
        leases = desk.ask(turns=9).leases
        asked += len(leases)
        for lease in leases if given_back else ():
            desk.came(lease)
        desk.now += 0.001
    assert asked == most


@pytest.mark.parametrize(("failed", "again"), [("robots.txt: no socket left", True), ("robots.txt: http 503", False)])
def test_a_robots_txt_that_this_machine_had_no_socket_for_is_soon_read_again(failed: str, again: bool) -> None:
    desk = Desk(budget_s=60.0, robots=True)
    assert desk.ask().errand == "robots"
    desk.tell(RobotsRead(ORIGIN, failed=failed))
    assert desk.ask().refused == failed
    desk.now += 61.0
    assert (desk.ask().errand == "robots") == again


def test_both_ports_of_a_host_share_its_limits() -> None:
    desk = Desk(per_host_rate=10.0)
    assert desk.ask().leases
    assert not desk.ask(origin="https://a.example:443").leases


@pytest.mark.parametrize(("asked", "least"), [(7.0, 7.0), (0.0, 0.5)])
def test_retry_after_is_the_hosts_not_the_links(asked: float, least: float) -> None:
    desk = Desk()
    desk.came(desk.ask().leases[0], "busy", asked)
    assert desk.ask().wait_s >= least and not desk.ask().leases
    desk.now += desk.ask().wait_s
    first = desk.ask(turns=4)
    assert len(first.leases) == 1, "one asks whether it is better"
    desk.came(first.leases[0])
    assert len(desk.ask(turns=4).leases) == 4


def test_pauses_grow_until_the_host_answers_and_are_not_in_step() -> None:
    def pauses(host: str) -> list[float]:
        desk, found = Desk(budget_s=1000.0), []
        words = {"host": host, "origin": f"http://{host}:80"}
        for _ in range(6):
            desk.came(desk.ask(**words).leases[0], "busy", **words)
            found.append(desk.ask(**words).wait_s)
            desk.now += found[-1]
        desk.came(desk.ask(**words).leases[0], **words)
        desk.came(desk.ask(**words).leases[0], "busy", **words)
        return [*found, desk.ask(**words).wait_s]

    one, other = pauses(HOST), pauses("b.example")
    assert all(0.5 * 2**n <= pause <= 1.5 * 2**n for n, pause in enumerate(one[:-1]))
    assert one[-1] <= 1.5 and all(a != b for a, b in zip(one, other, strict=True))


def test_several_refusals_at_once_are_one() -> None:
    desk = Desk()
    for lease in desk.ask(turns=4).leases:
        desk.came(lease, "busy")
    assert desk.ask().wait_s <= 1.5


def test_a_host_that_wants_more_patience_than_there_is_is_left_alone_until_then() -> None:
    desk = Desk(budget_s=60.0)
    desk.came(desk.ask().leases[0], "busy", 3600.0)
    assert desk.ask().refused == "http 429"
    desk.now += 3599.0
    assert 0 < desk.ask().wait_s <= 1.0
    desk.now += 1.0
    assert desk.ask().leases


def test_a_name_is_looked_up_by_one_for_all_and_for_the_run() -> None:
    desk = Desk(lookup=True)
    assert desk.ask().errand == "lookup"
    others = [desk.ask() for _ in range(5)]
    assert not any(grant.errand or grant.leases for grant in others) and all(grant.until_told for grant in others)
    desk.tell(Looked(HOST, ("192.0.2.1", "192.0.2.2")))
    assert desk.ask().addresses == ("192.0.2.1", "192.0.2.2")
    desk.now += 3600.0
    assert desk.ask().leases


def test_an_errand_of_a_worker_that_is_lost_goes_to_another() -> None:
    desk = Desk(lookup=True, budget_s=60.0)
    assert desk.ask().errand == "lookup"
    desk.now += 121.0
    assert desk.ask().errand == "lookup"


def test_a_name_that_does_not_exist_is_not_asked_for_again() -> None:
    desk = Desk(lookup=True)
    desk.ask()
    desk.tell(Looked(HOST, failed="name not found"))
    desk.now += 10 * 24 * 3600.0
    assert desk.ask().refused == "name not found"
    assert desk.ask(origin="https://a.example:443").refused == "name not found"


@pytest.mark.parametrize(
    ("first", "then", "times"),
    [([], "unreached", 1), ([], "silent", 2), (["answered"], "unreached", 8), (["answered"], "silent", 8)],
)
def test_a_host_that_does_not_answer_is_given_up_sooner_if_it_never_did(
    first: list[How], then: How, times: int
) -> None:
    desk = Desk()
    for how in first:
        desk.came(desk.ask().leases[0], how)
    for time in range(times):
        assert desk.ask().refused is None, time
        desk.came(desk.ask().leases[0], then)
        desk.now += 100.0
    assert desk.ask().refused == "time-out"
    assert desk.ask(origin="https://a.example:443").refused is None, "another port may have somebody behind it"


def test_another_run_asks_again_what_was_given_up_but_keeps_to_the_pauses() -> None:
    unknown, silent, busy = Desk(lookup=True), Desk(), Desk()
    assert unknown.ask().errand == "lookup"
    unknown.tell(Looked(HOST, failed="name not found"))
    for _ in range(2):
        silent.came(silent.ask().leases[0], "silent")
    busy.came(busy.ask().leases[0], "busy", 30.0)
    closed = Desk(robots=True)
    assert closed.ask().errand == "robots"
    closed.tell(RobotsRead(ORIGIN, failed="robots.txt: http 503"))
    assert [desk.ask().refused for desk in (unknown, silent, closed)] == [
        "name not found",
        "time-out",
        "robots.txt: http 503",
    ]
    for desk in (unknown, silent, busy, closed):
        desk.book.begin_run()
    assert unknown.ask().errand == "lookup" and closed.ask().errand == "robots"
    silent.came(silent.ask().leases[0], "silent")
    assert silent.ask().leases, "it is as one that was never asked"
    assert not busy.ask().leases and busy.ask().wait_s == pytest.approx(30.0)


def test_another_run_waits_for_nobody_who_was_killed_before_he_told_and_looks_names_up_anew() -> None:
    looking, reading, known = Desk(lookup=True), Desk(robots=True), Desk(lookup=True)
    for desk, errand in ((looking, "lookup"), (reading, "robots"), (known, "lookup")):
        assert desk.ask().errand == errand and (desk is known or desk.ask().until_told)
    known.tell(Looked(HOST, ("192.0.2.1",)))
    assert known.ask().leases
    for desk, errand in ((looking, "lookup"), (reading, "robots"), (known, "lookup")):
        desk.book.begin_run()
        assert desk.ask().errand == errand


def test_an_answer_makes_a_host_that_was_silent_as_good_as_others() -> None:
    desk = Desk()
    for how in [*["silent"], "answered", *["silent"] * 7, "answered", *["silent"] * 7]:
        desk.came(desk.ask().leases[0], how)
    assert desk.ask().refused is None


@pytest.mark.parametrize("how", ["lost", "unused", "answered"])
def test_what_says_nothing_about_the_host_gives_it_up_never(how: How) -> None:
    desk = Desk()
    for _ in range(50):
        desk.came(desk.ask().leases[0], how)
    assert desk.ask().leases


def test_robots_txt_is_read_by_one_for_all_kept_a_day_and_sent_to_whoever_has_it_not() -> None:
    desk = Desk(robots=True)
    assert desk.ask().errand == "robots"
    assert desk.ask().errand is None and not desk.ask().leases
    assert desk.ask(robots=False).leases, "robots.txt itself needs no leave"
    desk.tell(RobotsRead(ORIGIN, "User-agent: *\nDisallow: /é"))
    assert desk.ask().rules == "User-agent: *\nDisallow: /é"
    assert desk.ask(has_rules=True).rules is None
    assert desk.ask(origin="https://a.example:443").errand == "robots", "another port has another one"
    desk.now += 24 * 3600.0
    assert desk.ask().errand == "robots"


def test_texts_of_robots_txt_beyond_all_bounds_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is allowed meanwhile that they forbid."""
    monkeypatch.setattr("vlp_core.web.hosts.TEXTS", 10_000)
    desk = Desk(robots=True, per_host=1000)
    origins = [f"http://a.example:{port}" for port in range(80)]
    for number, origin in enumerate(origins):
        paths = generator("robots", number).integers(10**9, size=100)
        desk.tell(RobotsRead(origin, "User-agent: *" + "".join(f"\nDisallow: /{path}" for path in paths)))
    grants = [desk.ask(origin=origin) for origin in origins]
    assert all(grant.rules if grant.leases else grant.errand == "robots" for grant in grants)
    assert 0 < sum(bool(grant.leases) for grant in grants) < 40, "a text takes 500 bytes"


def test_what_a_robots_txt_that_cannot_be_had_forbids_is_everything() -> None:
    desk = Desk(robots=True)
    desk.ask()
    desk.tell(RobotsRead(ORIGIN, failed="robots.txt: http 503"))
    assert desk.ask().refused == "robots.txt: http 503"


def test_a_crawl_delay_beyond_all_patience_lets_one_in() -> None:
    desk = Desk(robots=True, budget_s=60.0)
    desk.tell(RobotsRead(ORIGIN, delay_s=86400.0))
    assert desk.ask().leases
    assert desk.ask().refused == "robots.txt: crawl delay"


def test_one_call_serves_many_hosts() -> None:
    book = Book(Fetch(per_host=1))
    asks = [Ask(f"{n % 50}.example", f"http://{n % 50}.example:80", lookup=False, robots=False) for n in range(100)]
    grants = book.ask(asks, 0.0)
    granted = Counter(ask.host for ask, grant in zip(asks, grants, strict=True) if grant.leases)
    assert len(granted) == 50 and set(granted.values()) == {1}
    assert len({lease for grant in grants for lease in grant.leases}) == 50
