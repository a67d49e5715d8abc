"""Which of the origins that wait comes up next."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp_core.web.upcoming import Upcoming

ORIGINS = "abcde"
FEW, MANY = 3, 100
STEPS = st.tuples(
    st.sampled_from(["put", "sent", "came", "failed", "asked", "forget", "due"]), st.sampled_from(ORIGINS)
)


def known(names: list[str], upcoming: Upcoming, now: float, *, answered: bool) -> None:
    for name in names:
        upcoming.sent(name)
        upcoming.came(name, now, FEW, answered=answered)


@settings(deadline=None)
@given(st.lists(st.tuples(STEPS, st.floats(0, 9)), max_size=120))
def test_whoever_waits_comes_up_once_when_its_time_has_come_whatever_kind_it_is(
    steps: list[tuple[tuple[str, str], float]],
) -> None:
    upcoming, times, flying, now = Upcoming(kept_s=2.0), dict[str, float](), list[str](), 0.0
    for (step, origin), number in steps:
        if step == "put":
            times[origin] = now + number
            upcoming.put(origin, now + number, FEW if number < 5 else MANY)
        elif step == "sent":
            flying.append(origin)
            upcoming.sent(origin)
        elif step in ("came", "failed") and origin in flying:
            flying.remove(origin)
            upcoming.came(origin, now, FEW, answered=step == "came")
        elif step == "asked":
            upcoming.asked(origin)
        elif step == "forget":
            times.pop(origin, None)
            upcoming.forget(origin)
        elif step == "due":
            now += number
            at = upcoming.next_at()
            assert not times or (at is not None and at <= min(times.values()))
            up: list[str] = []
            for _ in range(len(ORIGINS)):  # one look may find none where a connection was closed meanwhile
                up += upcoming.due(now)
            assert sorted(up) == sorted(name for name, when in times.items() if when <= now)
            for name in up:
                del times[name]


def test_most_turns_go_to_open_connections_and_some_to_those_that_are_mute_or_have_none() -> None:
    """Else a connection is opened for each link; or the dead, who take longest, come to their end after all others."""
    upcoming, kinds = Upcoming(kept_s=2.0), {kind: [f"{kind}{number}" for number in range(200)] for kind in "omcb"}
    known(kinds["c"], upcoming, 0.0, answered=True)
    known(kinds["m"], upcoming, 5.0, answered=False)
    known(kinds["o"] + kinds["b"], upcoming, 5.0, answered=True)
    for name in kinds["b"]:
        upcoming.sent(name)
    for names in kinds.values():
        for name in names:
            upcoming.put(name, 5.0, FEW)
    up = list(upcoming.due(5.0))
    assert len(set(up)) == len(up) == 800
    first = [name[0] for name in up[:240]]
    assert (first.count("o"), first.count("m"), first.count("c")) == (150, 60, 30)
    assert {name[0] for name in up[-200:]} == {"b"}
    for kind, names in kinds.items():
        assert [name for name in up if name[0] == kind] == names, "those that came first first"


@pytest.mark.parametrize(("after_s", "links", "goes_first"), [(1.0, FEW, True), (3.0, FEW, False), (3.0, MANY, False)])
def test_a_connection_nobody_uses_in_time_is_none(after_s: float, links: int, goes_first: bool) -> None:
    upcoming = Upcoming(kept_s=2.0)
    known(["old"], upcoming, -9.0, answered=True)
    upcoming.put("old", 0.0, FEW)
    known(["new"], upcoming, 0.0, answered=True)
    upcoming.put("new", 0.0, links)
    assert (next(islice(upcoming.due(after_s), 1), None) == "new") is goes_first


@pytest.mark.parametrize(("links", "goes_first"), [(FEW, False), (MANY, True)])
def test_few_links_wait_for_the_connection_that_is_in_use_and_many_open_more(links: int, goes_first: bool) -> None:
    upcoming = Upcoming(kept_s=2.0)
    known(["other"], upcoming, -9.0, answered=True)
    upcoming.put("other", 0.0, FEW)
    known(["used"], upcoming, 0.0, answered=True)
    upcoming.sent("used")
    upcoming.put("used", 0.0, links)
    assert (next(islice(upcoming.due(0.0), 1)) == "used") is goes_first
    upcoming.came("used", 0.0, links, answered=True)
    assert set(upcoming.due(0.0)) <= {"used", "other"}


def test_times_that_were_set_before_take_no_memory() -> None:
    """An origin whose connection is in use is put again and again while others have all the turns."""
    upcoming = Upcoming(kept_s=2.0)
    upcoming.sent("used")
    for number in range(10_000):
        upcoming.put("used", float(number), FEW)
    assert sum(map(len, upcoming._heaps)) < 100
    assert list(upcoming.due(9_998.0)) == [] and list(upcoming.due(9_999.0)) == ["used"]
