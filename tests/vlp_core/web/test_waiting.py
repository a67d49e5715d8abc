"""Which origin comes up when, at times that are given."""

from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from vlp_core.web.link import Link
from vlp_core.web.trip import Trip
from vlp_core.web.waiting import Waiting


def trip(host: str, number: int = 0) -> Trip[int]:
    url = URL(f"http://{host}.example/{number}")
    return Trip(number, Link(str(url)), url, 5)


def origin(host: str) -> str:
    return trip(host).origin


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_link_has_its_turn_in_list_order_and_hosts_take_turns(hosts: list[str], most: int, random) -> None:
    waiting, seen, now = Waiting(kept_s=2.0), [], 0.0
    for number, host in enumerate(hosts):
        waiting.add(trip(host, number), now)
    while (at := waiting.next_at()) is not None:
        now = max(now, at)
        due = waiting.due(now, most)
        assert len(due) == len(set(due)) <= most
        for name in due:
            if random.random() < 0.8:
                taken = waiting.take(name)
                assert taken is not None and taken.origin == name
                seen.append(taken.key)
            waiting.again(name, now + random.random(), nudged=random.random() < 0.5)
            waiting.nudge(random.choice([name, *due]), now)
    assert sorted(seen) == list(range(len(hosts)))
    for host in set(hosts):
        numbers = [number for number in seen if hosts[number] == host]
        assert numbers == sorted(numbers)


def test_an_origin_comes_up_when_it_was_told_to_or_when_something_changes_that_it_waits_for() -> None:
    waiting = Waiting(kept_s=2.0)
    for host in "ab":
        waiting.add(trip(host), 0.0)
    assert waiting.due(0.0, 9) == [origin("a"), origin("b")]
    waiting.again(origin("a"), 5.0)
    waiting.again(origin("b"), 5.0, nudged=True)
    for host in "abc":
        waiting.nudge(origin(host), 1.0)
    assert (waiting.due(1.0, 9), waiting.due(4.9, 9)) == ([origin("b")], [])
    assert waiting.due(5.0, 9) == [origin("a")]


def test_hosts_that_were_never_asked_come_up_a_few_at_a_time_beside_those_that_were() -> None:
    """Else all of a list's names are looked up, and its dead hosts waited for, before its first picture comes."""
    waiting = Waiting(kept_s=2.0)
    for host in "abcd":
        waiting.add(trip(host), 0.0)
    asked = waiting.due(0.0, 99)
    for number in range(100):
        waiting.add(trip(f"new{number}"), 1.0)
    for name in asked:
        waiting.take(name)
        waiting.add(trip(name.removeprefix("http://")[0]), 2.0)
    assert len(waiting.due(1.0, 99)) < 10 and waiting.next_at() < 1.0
    assert [name in asked for name in waiting.due(2.0, 4)] == [False, False, True, True]
    assert [name in asked for name in waiting.due(2.0, 1)] == [True], "nor do they keep others from coming to an end"
    assert len(waiting.due(2.0, 99)) < 10


def test_a_trip_that_paused_goes_before_those_that_have_not_begun() -> None:
    waiting = Waiting(kept_s=2.0)
    for number in range(3):
        waiting.add(trip("a", number), 0.0)
    first = waiting.take(origin("a"))
    assert first is not None
    waiting.pause(first, 2.0)
    waiting.wake(1.9)
    assert waiting.head(origin("a")).key == 1
    waiting.wake(2.0)
    assert [each.key for each in waiting.take_all(origin("a"))] == [0, 1, 2]
    assert waiting.next_at() is None or not waiting.due(9.0, 9)


def test_where_more_is_on_its_way_than_may_be_nobody_comes_up() -> None:
    waiting = Waiting(kept_s=2.0)
    waiting.add(trip("a"), 0.0)
    assert waiting.due(0.0, -3) == [] and waiting.due(0.0, 0) == []
    assert waiting.due(0.0, 1) == [origin("a")]
