import pytest

from vlp_core.web.reasons import CLASSES, UNFORESEEN, class_of


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("broken encoding", "bad_answer"),
        ("unknown encoding", "bad_answer"),
        ("too many redirects", "bad_answer"),
        ("broken header: png", "undecodable"),
        ("too many scans", "too_large"),
        ("connection lost", "network"),
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
