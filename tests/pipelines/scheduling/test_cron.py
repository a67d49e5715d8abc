"""Cron expressions: when they are due, and what is said of those that are wrong."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from pipelines.scheduling.cron import Cron, duration
from vlp_core.errors import UserError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("60 3 * * *", "minute '60' is none; it is 0 to 59"),
        ("0 24 * * *", "hour '24'"),
        ("0 3 0 * *", "day-of-month '0'"),
        ("0 0 31 2 *", "day-of-month '31'"),
        ("0 3 * 13 *", "month '13'"),
        ("0 3 * * 8", "day-of-week '8'"),
        ("*/0 3 * * *", "minute '*/0'"),
        ("0 3 * *", "has 4 fields; give 5"),
        ("0 0 3 * * *", "has 6 fields; give 5"),
        ("@daily", "has 1 fields; give 5"),
    ],
)
def test_a_wrong_expression_gets_one_line_that_names_the_field(expression: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Cron(expression)
    assert said in str(caught.value) and str(caught.value).startswith(f"--cron {expression!r}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("zone", "said"), [("Europe/Berln", "'Europe/Berlin'"), ("../etc", "Berlin"), ("Europe", "")])
def test_a_wrong_time_zone_is_named(zone: str, said: str) -> None:
    with pytest.raises(UserError, match=r"--timezone '.*': no such time zone") as caught:
        Cron("0 3 * * *", zone)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("0 3 * * 0", "UTC", "2026-11-21 12:00", ["2026-11-22 03:00", "2026-11-29 03:00"]),  # 0 is Sunday
        ("0 3 13 * 5", "UTC", "2026-11-01 12:00", ["2026-11-06 03:00", "2026-11-13 03:00"]),  # one or the other
        ("0 3 * * *", "Asia/Taipei", "2026-11-21 12:00", ["2026-11-21 19:00", "2026-11-22 19:00"]),
        # Half past two does not come on the day when clocks go forward, and comes twice when they go back.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", ["2026-10-26 01:30", "2026-10-27 01:30"]),
    ],
)
def test_times_that_are_due(expression: str, zone: str, after: str, expected: list[str]) -> None:
    cron, times = Cron(expression, zone), [at(text) for text in expected]
    first = cron.next(at(after))
    assert [first, cron.next(first)] == times
    assert list(islice(cron.back(times[1]), 2)) == times[::-1]


def test_what_lies_between_two_times_is_counted_up_to_a_bound() -> None:
    cron, midnight = Cron("0 * * * *"), at("2026-11-21 00:00")
    assert cron.between(midnight, midnight, 9) == []
    assert cron.between(midnight, midnight + timedelta(hours=2), 9) == [
        midnight + timedelta(hours=hours) for hours in (2, 1)
    ]
    assert len(cron.between(midnight, midnight + timedelta(days=9), 50)) == 50


def test_durations() -> None:
    assert [duration(text, "--x").total_seconds() for text in ("0", "90s", "15m", "6h", "2d")] == [
        0,
        90,
        900,
        21600,
        172800,
    ]
    for wrong in ("", "6", "h", "-1h", "1w"):
        with pytest.raises(UserError, match=f"--x '{wrong}'"):
            duration(wrong, "--x")
