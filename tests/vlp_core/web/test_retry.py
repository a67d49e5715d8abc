import pytest

from vlp_core.web.retry import pause_before, retry_after, worth_retrying


def test_pauses_double_with_jitter_that_depends_on_the_link_alone() -> None:
    for attempt in (1, 2, 3, 4):
        pauses = [pause_before(attempt, first_s=2.0, key=f"link {n}") for n in range(200)]
        assert pauses == [pause_before(attempt, first_s=2.0, key=f"link {n}") for n in range(200)]
        base = 2.0**attempt
        assert 0.5 * base <= min(pauses) < 0.6 * base < 1.4 * base < max(pauses) < 1.5 * base


def test_a_pause_after_however_many_attempts_is_a_number() -> None:
    """A host that is always busy is counted on, also where nobody wants a pause."""
    assert pause_before(2000, first_s=0.0, key="a") == 0.0 < pause_before(2000, first_s=1.0, key="a") < 1e20


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("7", 7),
        (" 7 ", 7),
        ("-7", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    assert retry_after(header, now=10.0) == seconds


def test_only_what_may_change_soon_is_asked_again() -> None:
    assert [status for status in range(100, 600) if worth_retrying(status)] == [408, 425, 429, *range(500, 600)]
