from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest

from jobs.journal import Journal, Outcome
from vlp_core.files import flock

UIDS = ["a" * 32, "b" * 32, "c" * 32]
CAME = Outcome(status="success", attempts=2, asked=1_700_000_000, etag='"ü"', final_url="http://x.test/\n")


def _written(folder: Path) -> None:
    with Journal(folder) as journal:
        journal.put(0, UIDS[0], CAME, b"first")
        journal.put(2, UIDS[2], replace(CAME, status="failed"))
        journal.put(1, UIDS[1], CAME, b"second")


def test_what_was_written_down_is_known_with_its_picture(tmp_path: Path) -> None:
    _written(tmp_path)
    with Journal(tmp_path) as journal:
        first, second, third = journal.known(UIDS, check=True)
        assert first is not None and second is not None
        assert third == replace(CAME, status="failed")
        assert replace(first, place=None, stored=None) == CAME
        assert [journal.picture(known.place) for known in (first, second) if known.place] == [b"first", b"second"]
        assert journal.known(["d" * 32, UIDS[1]]) == [None, second], "of another list it says nothing"


@pytest.mark.parametrize(
    ("file", "spoil", "lost"),
    [
        ("journal", lambda body: body[:-20], {1}),
        ("journal", lambda body: bytes(80) + b"\n" + body.split(b"\n", 1)[1], {0}),
        ("journal", lambda body: b'{"row": 0}\n[]\n' + body, set()),
        ("spill", lambda body: body[:-1], {1}),
        ("spill", lambda body: b"F" + body[1:], {0}),
    ],
    ids=["cut line", "zeros", "other lines", "cut picture", "changed picture"],
)
def test_what_a_kill_or_a_power_cut_spoilt_is_not_known_and_can_be_written_again(
    tmp_path: Path, file: str, spoil: Callable[[bytes], bytes], lost: set[int]
) -> None:
    _written(tmp_path)
    (tmp_path / file).write_bytes(spoil((tmp_path / file).read_bytes()))
    with Journal(tmp_path) as journal:
        known = journal.known(UIDS, check=True)
        assert {row for row, outcome in enumerate(known) if outcome is None} == lost
        for row in lost:
            journal.put(row, UIDS[row], CAME, b"again")
    with Journal(tmp_path) as journal:
        again = journal.known(UIDS, check=True)
        assert None not in again
        assert {row for row in range(3) if again[row] != known[row]} == lost


def test_nobody_else_has_a_journal_that_is_open(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(BlockingIOError):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_a_journal_that_is_being_removed_is_somebody_elses_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its shard has just been published: whoever waits for it looks again."""
    owner = Journal(tmp_path / "00000")

    def flock_late(file: FileIO, how: int) -> bool:
        owner.remove()
        return flock(file, how)

    monkeypatch.setattr("jobs.journal.flock", flock_late)
    with pytest.raises(BlockingIOError):
        Journal(tmp_path / "00000")
