"""What was taken down stays down, in whatever body, through whichever link, and whenever it comes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import publish
from jobs.journal import Journal, Outcome
from jobs.purge_journals import taken_of_journals
from tests.jobs.refreshing import HOST, World, changes_of, contents, counts_of, quarantine_of, rows_of
from vlp_core.data.releases import newest
from vlp_core.data.takedowns import Takedowns
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.tracker import Summary


@pytest.fixture
def world(tmp_path: Path, cluster: str) -> Iterator[World]:
    world = World(tmp_path)
    with world.site:
        yield world


def numbered(*numbers: int) -> dict[str, str]:
    return {f"{number}.jpg": f"picture {number}" for number in numbers}


def with_comment(body: bytes) -> bytes:
    """Another body, of which the same is stored."""
    return body[:2] + b"\xff\xfe\x00\x09another" + body[2:]


def test_a_picture_that_was_taken_down_as_it_is_stored_stays_down_in_another_body(world: World) -> None:
    """Of a link that is new, and of one that showed another picture before."""
    world.pictures(0, 1, 2)
    stored = contents(world.refresh(numbered(0, 1, 2)))["0.jpg"][0]
    world.says |= dict.fromkeys(("1.jpg", "3.jpg"), with_comment(world.says["0.jpg"]))
    assert sha256_of(world.says["3.jpg"]) != stored
    world.take_down(sha256=stored)
    second = world.refresh(numbered(0, 1, 2, 3), days=100)
    assert contents(second).keys() == {"2.jpg"} and not quarantine_of(second)
    assert changes_of(second) == dict.fromkeys(("0.jpg", "1.jpg"), "taken_down")
    assert counts_of(second)["taken_down/pictures"] == 3
    assert rows_of(second)["3.jpg"]["status"] == "taken_down" and rows_of(second)["3.jpg"]["sha256"] is None


def test_what_is_taken_down_before_a_release_has_its_name_is_in_none_that_gets_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took it down was told that the next release is without it."""
    world.pictures(0, 1, 2)
    with monkeypatch.context() as meanwhile:
        whole = publish.run

        def taken(**given: Any) -> Summary:
            world.take_down(url=f"{HOST}/1.jpg")
            return whole(**given)

        meanwhile.setattr(publish, "run", taken)
        for before in (None, f"{HOST}/0.jpg"):  # the first of all, and one more
            if before is not None:
                world.take_down(url=before)
            with pytest.raises(UserError, match="photos@1: something was taken down since it was made; start again"):
                world.refresh(numbered(0, 1, 2))
            assert newest(world.root, "photos") is None
    assert contents(world.refresh(numbered(0, 1, 2))).keys() == {"0.jpg", "2.jpg"}


def test_a_picture_that_a_killed_download_has_written_down_is_known_as_it_is_stored(tmp_path: Path) -> None:
    with Journal(tmp_path / "_work" / "00000") as journal:
        for row, picture in enumerate((b"one", b"other")):
            said = Outcome(status="success", attempts=1, asked=0, sha256=sha256_of(b"came as " + picture))
            journal.put(row, f"{row}", said, picture)
    down = Takedowns.read(World(tmp_path).take_down(sha256=sha256_of(b"other")))
    assert taken_of_journals(tmp_path, down)["uid"].to_pylist() == ["1"]
