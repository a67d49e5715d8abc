import pytest

from vlp_core.web.reasons import CLASSES, UNFORESEEN, class_of, may_pass
from vlp_core.web.retry import worth_retrying


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("broken encoding", "bad_answer"),
        ("unknown encoding", "bad_answer"),
        ("too many redirects", "bad_answer"),
        ("broken header: png", "undecodable"),
        ("too many scans", "too_large"),
        ("connection lost", "network"),
        ("no socket left", "network"),
        ("error: KeyError", UNFORESEEN),
        ("HTTP Error 404: Not Found", "http"),
        ("<urlopen error [Errno -2] Name or service not known>", "network"),
        ("no such file", "not_there"),
        ("outside the folder", "not_there"),
        ("no picture in the tar", "not_there"),
        ("image too small", "too_small"),
    ],
)
def test_a_reason_counts_in_the_class_of_what_happened(reason: str, name: str) -> None:
    assert class_of(reason) == name


def test_no_reason_begins_as_one_of_another_class_does() -> None:
    """Else the order of the table would decide."""
    starts = [(start, name) for name, listed in CLASSES.items() for start in listed]
    assert all(class_of(start) == name for start, name in starts)
    assert not [(a, b) for a, _ in starts for b, _ in starts if a != b and a.startswith(b)]


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        *[(reason, True) for reason in ("time-out", "http 429", "http 500", "http 503", "http 599", "name not found")],
        *[(reason, True) for reason in ("name server does not answer", "no connection", "connection lost")],
        ("no socket left", True),
        *[(reason, True) for reason in ("robots.txt: http 503", "robots.txt: time-out", "robots.txt: crawl delay")],
        ("error: KeyError", True),
        *[(reason, False) for reason in ("http 404", "http 403", "http 5 of them", "tls", "bad answer", "empty")],
        *[(reason, False) for reason in ("opted out: robots.txt", "opted out: noai", "refused address", "bad url")],
        *[
            (reason, False)
            for reason in ("too many bytes", "too many redirects", "not an image: html", "undecodable: png")
        ],
    ],
)
def test_what_may_pass_is_asked_for_again_in_a_later_run_and_nothing_else(reason: str, again: bool) -> None:
    assert may_pass(reason) is again


def test_what_is_asked_again_in_this_run_is_asked_again_in_a_later_one() -> None:
    """Of every status."""
    statuses = range(100, 600)
    assert [may_pass(f"http {status}") for status in statuses] == [worth_retrying(status) for status in statuses]
    assert {class_of(f"http {status}") for status in statuses} == {"http"}
