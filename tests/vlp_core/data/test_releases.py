"""Names and numbers of releases: one each, found or told in one line."""

import dataclasses
from pathlib import Path

import pytest

from vlp_core.data.releases import Release, enter, entry_file, find, newest, numbers, parted
from vlp_core.errors import UserError


def release(root: Path, number: int, **other: str) -> Release:
    folder = {"folder": f"release/{number}", "digest": f"{number}", "as_of": "2026-01-01T00:00:00+00:00"}
    return Release(**{"name": "photos", "number": number, "root": str(root), **folder, **other})  # type: ignore[arg-type]


def test_a_name_stands_for_its_newest_release_or_the_one_of_a_number(tmp_path: Path) -> None:
    assert newest(tmp_path, "photos") is None
    for number in (1, 2, 12):
        enter(release(tmp_path, number))
    assert numbers(tmp_path, "photos") == [1, 2, 12]
    assert find(tmp_path, "releases:photos") == newest(tmp_path, "photos") == release(tmp_path, 12)
    assert find(tmp_path, "releases:photos@2").path == tmp_path / "release/2"


def test_a_number_is_given_once(tmp_path: Path) -> None:
    """To a refresh that says it again too; nothing half written is left by whoever came second."""
    enter(release(tmp_path, 1))
    enter(release(tmp_path, 1))
    with pytest.raises(UserError, match="photos@1: taken, another refresh has made it meanwhile; start again"):
        enter(release(tmp_path, 1, digest="other"))
    assert find(tmp_path, "photos@1") == release(tmp_path, 1)
    assert [path.name for path in entry_file(tmp_path, "photos", 1).parent.iterdir()] == ["0001.json"]


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("", "'': no name of a release"),
        ("../photos", "no name of a release; begin with a letter or digit"),
        ("a/b@1", "no name of a release"),
        ("photos@", "'photos@': after @ stands a release's number, 1 or more; write photos@1"),
        ("photos@0", "after @ stands a release's number"),
        ("photos@²", "after @ stands a release's number"),
    ],
)
def test_what_is_no_name_is_told(title: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parted(title)


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("releases:photo", r"releases:photo: no such release in .*; did you mean 'photos'\?"),
        ("releases:photos@4", "releases:photos@4: no such release; there are @1 to @3"),
    ],
)
def test_a_release_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, title: str, told: str) -> None:
    for number in (1, 2, 3):
        enter(release(tmp_path, number))
    with pytest.raises(UserError, match=told):
        find(tmp_path, title)


def test_another_roots_and_damaged_entries_and_names_like_others_are_told(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    enter(dataclasses.replace(release(here, 1), root=str(here)))
    (here / "releases").rename(tmp_path / "moved")
    there.mkdir()
    (tmp_path / "moved").rename(there / "releases")
    with pytest.raises(UserError, match=r"photos@1: made in .*here, where its pictures lie, not in .*there; give that"):
        newest(there, "photos")
    (tmp_path / "link").symlink_to(here)
    enter(release(here, 1))
    enter(release(tmp_path / "link", 1))
    assert find(tmp_path / "link", "photos") == release(tmp_path / "link", 1)
    with pytest.raises(UserError, match="Photos: taken by photos, which differs in capitals alone"):
        newest(there, "Photos")
    entry_file(there, "photos", 1).write_text("{")
    with pytest.raises(UserError, match=r"0001\.json: does not say what photos@1 is"):
        newest(there, "photos")
