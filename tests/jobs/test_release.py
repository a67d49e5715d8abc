"""Releases of lists that grow and rot: nothing is asked twice that need not be, nothing is lost, and what changed is
taken, kept out or taken down as promised."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.taken import taken_of_images
from tests.jobs.downloading import Listener
from tests.jobs.refreshing import (
    HOST,
    NEAR,
    World,
    changes_of,
    contents,
    counts_of,
    faded,
    greyed,
    ledger_of,
    quarantine_of,
    recompressed,
    rows_of,
)
from tests.vlp_core.web.site import picture
from vlp_core.curation.hashes import phash, thumbnail
from vlp_core.curation.settings import Near
from vlp_core.data.releases import newest, numbers, read
from vlp_core.data.takedowns import Takedowns
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.tracker import Silent

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.site:
        yield world


def numbered(*numbers: int) -> dict[str, str]:
    return {f"{number}.jpg": f"picture {number}" for number in numbers}


def test_three_refreshes_of_a_list_that_grows_and_rots_hold_what_one_run_over_the_last_list_does(world: World) -> None:
    """The dead links apart, whose pictures stay. What was fetched or is final is asked once, what may pass each
    time."""
    world.pictures(*range(12))
    world.says |= {"gone.jpg": 404, "busy.jpg": 503, "page.jpg": b"<html>", "late.jpg": 503}
    rows: dict[str, str | list[str]] = {**numbered(*range(8)), "gone.jpg": "g", "busy.jpg": "b", "page.jpg": "p"}
    first = world.refresh(rows)
    assert counts_of(first).items() >= {"pictures": 8, "added": 8, "rows": 11, "failed": 3, "failed/http": 2}.items()

    world.says |= {"0.jpg": 404, "busy.jpg": picture(80, 60, seed=77)}  # one link dies, one comes to life
    del rows["1.jpg"]
    rows |= {"2.jpg": ["picture 2", "another"], **numbered(8, 9), "late.jpg": "l"}
    second = world.refresh(rows)
    assert changes_of(second) == dict.fromkeys(["8.jpg", "9.jpg", "busy.jpg"], "added") | {
        "1.jpg": "removed",
        "2.jpg": "captions",
    }
    assert counts_of(second).items() >= {"pictures": 10, "added": 3, "removed": 1, "captions": 1, "asked": 4}.items()

    world.says |= {"late.jpg": picture(80, 60, seed=78), "9.jpg": 410}
    rows |= numbered(10, 11)
    before = world.asked.copy()
    third = world.refresh(rows)
    assert world.asked - before == {"late.jpg": 1, "10.jpg": 1, "11.jpg": 1}
    assert {path: count for path, count in world.asked.items() if count > 1} == {"busy.jpg": 2, "late.jpg": 2}

    whole = world.refresh(rows, into="whole")
    dead = {"0.jpg", "9.jpg"}
    held = contents(third)
    assert {path: held[path] for path in held if path not in dead} == contents(whole) and dead <= held.keys()
    assert {path: row for path, row in rows_of(third).items() if path not in dead}.keys() == rows_of(
        whole
    ).keys() - dead
    late = ledger_of(third)["late.jpg"]
    assert late["attempts"] == 2 and late["first_asked"] <= late["last_asked"] and late["outcome"] == "success"
    assert ledger_of(third).keys() == rows.keys()
    assert numbers(world.root, "photos") == [1, 2, 3] and len(contents(read(world.root, "photos", 1))) == 8


def test_a_release_shares_the_tars_and_files_of_what_did_not_change(world: World) -> None:
    """Old releases stay as they are, down to the bytes, and an unchanged tar gives the same rows again."""
    world.pictures(*range(9))
    first = world.refresh(numbered(*range(8)))
    files = {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()}
    second = world.refresh(numbered(*range(9)))
    assert {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()} == files
    assert len(list(second.path.glob("_places/*"))) == 3 and not list(second.path.glob("*.tar"))
    for name in ("00000", "00001"):
        for end in (".parquet", "_index.parquet"):
            assert (second.path / f"{name}{end}").read_bytes() == files[first.path / f"{name}{end}"]


def test_captions_and_further_columns_are_those_of_todays_list(world: World) -> None:
    world.pictures(0, 1)
    world.refresh(numbered(0, 1), columns={"similarity": [0.1, 0.2], "old": ["a", "b"]})
    release = world.refresh({"1.jpg": "now", "0.jpg": "new"}, columns={"similarity": [0.5, 0.6], "licence": ["x", "y"]})
    rows = rows_of(release)
    assert [rows[path][name] for path in ("1.jpg", "0.jpg") for name in ("similarity", "licence", "caption")] == [
        *(0.5, "x", "now"),
        *(0.6, "y", "new"),
    ]
    assert "old" not in rows["0.jpg"] and changes_of(release) == {"0.jpg": "captions", "1.jpg": "captions"}
    card = (release.path / "card.md").read_text()
    assert "CC BY 4.0" in card and "| `x` | 1 |" in card and "| `pictures` | 2 |" in card
    world.take_down(sha256=sha256_of(picture(80, 60, seed=1)))
    rows = rows_of(
        world.refresh({"1.jpg": "now", "0.jpg": "new"}, columns={"licence": ["x", "y"], "tags": [["a"]] * 2})
    )
    assert [(rows[path]["licence"], rows[path]["tags"]) for path in ("1.jpg", "0.jpg")] == [(None, None), ("y", ["a"])]


def test_where_nothing_is_new_or_due_no_release_is_made(world: World) -> None:
    world.pictures(0, 1)
    world.says |= {"gone.jpg": 404, "page.jpg": b"<html>"}
    rows = {**numbered(0, 1), "gone.jpg": "g", "page.jpg": "p"}
    before = rows_of(world.refresh(rows))
    asked = world.asked.copy()
    assert world.refresh(rows, days=89).number == 1 and world.asked == asked
    release = world.refresh(rows, days=91)
    assert release.number == 2 and world.asked == dict.fromkeys(rows, 2) and not changes_of(release)
    assert ledger_of(release)["page.jpg"]["outcome"] == "unchanged"
    assert ledger_of(world.refresh(rows, days=182))["page.jpg"]["outcome"] == "unchanged"
    assert {path: row["error_message"] for path, row in rows_of(release).items()} == {
        path: row["error_message"] for path, row in before.items()
    }


def test_a_first_takedown_while_a_release_is_made_is_in_none_that_gets_a_name(world: World) -> None:
    """Whoever took it down was told that the next release is without it."""

    class Meanwhile(Silent):
        def progress(self, *_: object, **__: object) -> None:
            world.take_down(url=f"{HOST}/1.jpg")

    world.pictures(0, 1)
    with pytest.raises(UserError, match="the first takedown came while it was made; start again"):
        world.refresh(numbered(0, 1), tracker=Meanwhile())
    assert newest(world.root, "photos") is None
    assert contents(world.refresh(numbered(0, 1))).keys() == {"0.jpg"}


@pytest.mark.parametrize(("left", "told"), [(3, False), (4, True)])
def test_a_list_that_has_lost_most_of_its_links_is_told(world: World, left: int, told: bool) -> None:
    """It was cut short, perhaps: the release is made, as a list may shrink, and nobody would see why."""
    listed = {f"{number}.jpg": "one" for number in range(6)}
    world.pictures(*range(6))
    world.refresh(listed)
    listener = Listener()
    world.refresh(dict(list(listed.items())[left:]), tracker=listener)
    assert [f"{left} of the 6 links" in said for said in listener.warned] == [True] * told


def test_a_link_that_left_the_list_and_comes_back_is_new(world: World) -> None:
    """A release knows what the one before had, and no more: the link is asked as if for the first time, and what it
    shows by then is what it has."""
    world.pictures(0, 1, 2)
    first = world.refresh(numbered(0, 1, 2))
    second = world.refresh(numbered(0))
    assert changes_of(second) == {"1.jpg": "removed", "2.jpg": "removed"}
    assert contents(second).keys() == ledger_of(second).keys() == {"0.jpg"}
    world.says["2.jpg"] = picture(80, 60, seed=99)
    third = world.refresh(numbered(0, 1, 2))
    assert changes_of(third) == {"1.jpg": "added", "2.jpg": "added"} and not quarantine_of(third)
    assert world.asked == {"0.jpg": 1, "1.jpg": 2, "2.jpg": 2}
    assert contents(third)["1.jpg"] == contents(first)["1.jpg"] and contents(third)["2.jpg"] != contents(first)["2.jpg"]
    assert [ledger_of(third)[path]["attempts"] for path in ("1.jpg", "2.jpg")] == [1, 1]


def test_a_picture_that_changed_is_taken_where_it_is_nearly_the_same_else_neither_is_there(world: World) -> None:
    """Asked again, with its ETag, after the days; what answers no more keeps its picture, what opted out does not."""
    world.pictures(*range(6))
    first = world.refresh(numbered(*range(6)))
    old, other = world.says["1.jpg"], picture(80, 60, seed=99)
    assert isinstance(old, bytes)
    shy = (picture(80, 60, seed=3), {"X-Robots-Tag": "noai", "ETag": '"other"'})
    world.says |= {"1.jpg": other, "2.jpg": recompressed(picture(80, 60, seed=2)), "3.jpg": shy, "4.jpg": 404}
    second = world.refresh(numbered(*range(6)), days=100)
    assert changes_of(second) == {"1.jpg": "quarantined", "2.jpg": "changed", "3.jpg": "removed"}
    assert contents(second).keys() == {"0.jpg", "2.jpg", "4.jpg", "5.jpg"}
    assert (
        contents(second)["2.jpg"] != contents(first)["2.jpg"] and contents(second)["4.jpg"] == contents(first)["4.jpg"]
    )
    waiting = quarantine_of(second)["1.jpg"]
    assert (waiting["sha256"], waiting["before_sha256"]) == (sha256_of(other), sha256_of(old))
    assert rows_of(second)["1.jpg"]["status"] == "quarantined" and rows_of(second)["1.jpg"]["sha256"] is None
    ledger = ledger_of(second)
    assert [ledger[path]["outcome"] for path in ("0.jpg", "4.jpg")] == ["unchanged", "final"]
    assert ledger["4.jpg"]["sha256"] == sha256_of(picture(80, 60, seed=4)), "forgotten with what it was known by"

    card = (second.path / "card.md").read_text()
    assert "| `opted out: noai` | 1 |" in card and "| `list` | 4 |" in card
    assert "- robots.txt is honoured" in card and "- X-Robots-Tag and tdm-reservation are honoured" in card

    world.pictures(6)
    third = world.refresh(numbered(*range(7)))
    assert quarantine_of(third).keys() == {"1.jpg"} and "1.jpg" not in contents(third)
    world.says["1.jpg"] = old
    fourth = world.refresh(numbered(*range(7)), days=100)
    assert changes_of(fourth) == {"1.jpg": "added"} and contents(fourth)["1.jpg"] == contents(first)["1.jpg"]
    assert not quarantine_of(fourth)


@pytest.mark.parametrize("by", ["sha256", "phash"])
def test_what_must_never_be_stored_goes_though_it_was_there_before_that_was_known(
    world: World, tmp_path: Path, by: str
) -> None:
    """Whether its link says that it has not changed, gives the same bytes, or shows another that must not be stored
    either; not where it was not asked, or did not answer."""
    world.pictures(0, 1, 2, 3, 4)
    before = world.refresh(numbered(0, 1, 2, 3, 4))
    old, new, same, dead = (picture(80, 60, seed=seed) for seed in (0, 9, 3, 4))
    world.says |= {"1.jpg": new, "3.jpg": (same, {"ETag": '"another"'}), "4.jpg": 404}
    listed = tmp_path / "never.txt"
    lines = [
        f"phash:{phash(thumbnail(body)):016x}" if by == "phash" else sha256_of(body) for body in (old, new, same, dead)
    ]
    listed.write_text("\n".join(lines))
    assert contents(world.refresh(numbered(0, 1, 2, 3, 4), days=50, never_store=(listed,))) == contents(before)
    release = world.refresh(numbered(0, 1, 2, 3, 4), days=100, never_store=(listed,))
    assert changes_of(release) == dict.fromkeys(("0.jpg", "1.jpg", "3.jpg"), "removed")
    assert contents(release) == {path: contents(before)[path] for path in ("2.jpg", "4.jpg")}
    assert {rows_of(release)[path]["error_message"] for path in changes_of(release)} == {"refused picture"}


def test_what_opted_out_since_goes_though_its_link_says_that_it_has_not_changed(world: World) -> None:
    world.pictures(0, 1)
    world.refresh(numbered(0, 1))
    world.says["1.jpg"] = (picture(80, 60, seed=1), {"X-Robots-Tag": "noai"})
    release = world.refresh(numbered(0, 1), days=100)
    assert changes_of(release) == {"1.jpg": "removed"} and contents(release).keys() == {"0.jpg"}
    assert rows_of(release)["1.jpg"]["http_status"] == 304


def test_what_had_no_picture_is_asked_as_a_new_link_is(world: World) -> None:
    """What left it out may be so no longer: that its body is the one of then would leave it out for good."""
    world.pictures(0, 1, 2)
    body = picture(80, 60, seed=1)
    world.says["1.jpg"] = (body, {"X-Robots-Tag": "noai"})
    first = world.refresh(numbered(0, 1, 2), max_pixels=80 * 60)
    assert contents(first).keys() == {"0.jpg", "2.jpg"}
    world.says["1.jpg"] = body
    world.says["3.jpg"] = picture(90, 60, seed=3)
    second = world.refresh(numbered(*range(4)), max_pixels=80 * 60)
    assert rows_of(second)["3.jpg"]["status"] == "failed_to_resize"
    third = world.refresh(numbered(*range(4)), days=100)
    assert changes_of(third) == {"1.jpg": "added", "3.jpg": "added"}
    assert contents(third).keys() == {f"{number}.jpg" for number in range(4)}


@pytest.mark.parametrize("change", ["colours", "shapes"])
@pytest.mark.parametrize(
    ("near", "became"), [(NEAR, "quarantined"), (Near(bits=31, colour=255, alike=1), "changed")], ids=["near", "all"]
)
def test_nearly_the_same_is_what_agrees_in_shapes_and_in_colours(
    world: World, change: str, near: Near, became: str
) -> None:
    """Neither the same scene in grey nor another scene in as pale colours, unless as much may differ."""
    first, other = picture(80, 60, seed=1), greyed(picture(80, 60, seed=1))
    if change == "shapes":
        first, other = (faded(picture(80, 60, seed=seed)) for seed in (1, 2))
    world.says |= {"1.jpg": first, "2.jpg": first}
    world.refresh(numbered(1, 2))
    world.says["1.jpg"] = other
    assert changes_of(world.refresh(numbered(1, 2), days=100, near=near)) == {"1.jpg": became}


@pytest.mark.parametrize("called", ["uid", "url", "sha256", "all"])
def test_what_waits_in_quarantine_is_let_in_by_name_without_being_asked_again(world: World, called: str) -> None:
    world.pictures(0, 1)
    world.refresh(numbered(0, 1))
    world.says["1.jpg"] = picture(80, 60, seed=99)
    second = world.refresh(numbered(0, 1), days=100)
    asked = world.asked.copy()
    with pytest.raises(
        UserError, match=r"--let-in nobody: nothing in quarantine is called so; known: http.*stand in quarantine\.pa"
    ):
        world.refresh(numbered(0, 1), let_in=("nobody",))
    name = quarantine_of(second)["1.jpg"].get(called, "all")
    third = world.refresh(numbered(0, 1), let_in=(name,))
    assert changes_of(third) == {"1.jpg": "added"} and not quarantine_of(third) and world.asked == asked
    assert rows_of(third)["1.jpg"]["sha256"] == sha256_of(picture(80, 60, seed=99))


def test_a_picture_that_another_host_answered_with_goes_with_that_host(world: World) -> None:
    """Those that are there, and one that a new link leads to."""
    world.pictures(0)
    world.says |= {f"{number}.jpg": "http://elsewhere.test/moved.jpg" for number in (1, 2)}
    world.says["moved.jpg"] = picture(80, 60, seed=98)
    assert contents(world.refresh(numbered(0, 1))).keys() == {"0.jpg", "1.jpg"}
    world.take_down(host="elsewhere.test")
    second = world.refresh(numbered(0, 1, 2))
    assert contents(second).keys() == {"0.jpg"} and changes_of(second) == {"1.jpg": "taken_down"}
    asked = world.asked.copy()
    third = world.refresh(numbered(0, 1, 2), days=100)
    assert contents(third).keys() == {"0.jpg"} and world.asked - asked == {"0.jpg": 1}


def test_further_columns_may_hold_anything(world: World) -> None:
    """Digests as bytes, hashes as signed numbers, licences that are lists or no text."""
    world.pictures(*range(4))
    shown = [body for number in range(4) if isinstance(body := world.says[f"{number}.jpg"], bytes)]
    looks = [int(phash(thumbnail(body))) for body in shown]
    columns = {
        "sha256": [bytes.fromhex(sha256_of(shown[0])), b"\xff" * 32, b"\xff" * 32, b"\xff\0"],
        "phash": [None, None, (looks[2] ^ 1) - (2**64 if looks[2] >= 2**63 else 0), -1],
        "license": [["CC0"], [], None, ["CC BY"]],
        "rights": [b"\xff", None, b"mine", b""],
    }
    release = world.refresh(numbered(*range(4)), columns=columns)
    assert contents(release).keys() == {"0.jpg", "2.jpg", "3.jpg"} and quarantine_of(release).keys() == {"1.jpg"}
    assert "mine" in (release.path / "card.md").read_text()


@pytest.mark.parametrize("named", ["host", "sha256", "url"])
@pytest.mark.parametrize("let_in", [(), ("all",)], ids=["waits", "let in"])
def test_what_waits_is_gone_where_it_is_taken_down(world: World, named: str, let_in: tuple[str, ...]) -> None:
    """By the host that answered for it, by itself, or by its link; also where somebody lets it in."""
    world.pictures(0, 1)
    world.refresh(numbered(0, 1))
    other = picture(80, 60, seed=99)
    world.says |= {"1.jpg": "http://elsewhere.test/moved.jpg", "moved.jpg": other}
    second = world.refresh(numbered(0, 1), days=100)
    assert quarantine_of(second).keys() == {"1.jpg"}
    words = {"host": "elsewhere.test", "sha256": sha256_of(other), "url": f"{HOST}/1.jpg"}
    down = Takedowns.read(world.take_down(**{named: words[named]}))
    assert taken_of_images(second.path, down).seen["uid"].to_pylist() == [rows_of(second)["1.jpg"]["uid"]]
    third = world.refresh(numbered(0, 1), let_in=let_in)
    assert contents(third).keys() == {"0.jpg"} and not quarantine_of(third)
    assert [row["status"] for path, row in rows_of(third).items() if path != "0.jpg"] == ["taken_down"] * (
        named != "url"
    )


def test_what_is_not_what_the_list_says_waits_unless_it_looks_like_it(world: World) -> None:
    """A domain that changed hands since the list was made: by the list's sha256, then by its perceptual hash, of which
    so many bits may differ as is said."""
    world.pictures(*range(5))
    shown = [world.says[f"{number}.jpg"] for number in range(5)]
    hashes = [sha256_of(body) for body in shown if isinstance(body, bytes)]
    looks = [int(phash(thumbnail(body))) for body in shown if isinstance(body, bytes)]
    columns = {
        "sha256": [hashes[0], "0" * 64, "0" * 64, "0" * 64, None],
        "phash": [None, None, f"{looks[2] ^ 0xFF:016x}", f"{looks[3] ^ 0xFFFF:016x}", None],
    }
    release = world.refresh(numbered(*range(5)), columns=columns, near=Near(bits=12, alike=1))
    assert contents(release).keys() == {"0.jpg", "2.jpg", "4.jpg"}
    waiting = quarantine_of(release)
    assert waiting.keys() == {"1.jpg", "3.jpg"} and waiting["1.jpg"]["before_sha256"] is None
    assert waiting["1.jpg"]["reason"] == "another picture than the list's sha256"


def test_what_was_taken_down_is_gone_and_is_not_asked_again_whatever_list_brings_it_back(world: World) -> None:
    world.pictures(*range(6))
    rows = numbered(*range(6))
    first = world.refresh(rows)
    world.take_down(url=f"{HOST.upper()}:80/1.jpg", sha256=sha256_of(picture(80, 60, seed=2)))
    asked = world.asked.copy()
    second = world.refresh(rows, days=100)
    assert changes_of(second) == {"1.jpg": "taken_down", "2.jpg": "taken_down"}
    assert contents(second).keys() == rows.keys() - {"1.jpg", "2.jpg"} and len(contents(first)) == 6
    world.pictures(6)
    third = world.refresh(rows | numbered(6), days=200)
    assert contents(third).keys() == (rows | numbered(6)).keys() - {"1.jpg", "2.jpg"}
    assert (world.asked - asked).keys().isdisjoint({"1.jpg", "2.jpg"}) and world.asked["3.jpg"] == 3
    other = world.refresh(rows, into="others")
    assert contents(other).keys() == rows.keys() - {"1.jpg", "2.jpg"} and world.asked["1.jpg"] == 1
    world.take_down(host="test")
    with pytest.raises(UserError, match="no picture would be left"):
        world.refresh(rows | numbered(6))


def test_a_name_that_is_anothers_is_told(world: World) -> None:
    world.pictures(*range(4))
    world.refresh(numbered(0, 1))
    with pytest.raises(
        UserError, match="--into photos: taken by another data set: none of its 2 links is in this list"
    ):
        world.refresh(numbered(2, 3))


def test_rows_over_many_buckets_are_those_over_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit in memory at once is joined a bucket at a time, in both stages, to the same release."""
    world.pictures(*range(10))
    first = numbered(*range(0, 10, 2))
    for into in ("one", "many"):
        if into == "many":
            monkeypatch.setattr("jobs.changes.bucket_count", lambda _: 3)
            monkeypatch.setattr("jobs.release.bucket_count", lambda _: 3)
        world.refresh(first, into=into, shard_size=2)
        last = world.refresh(numbered(*range(9, -1, -1)), into=into, days=100, shard_size=2)
        assert counts_of(last).items() >= {"added": 5, "asked": 10, "unchanged": 5}.items()
    one, many = (newest(world.root, into) for into in ("one", "many"))
    assert one is not None and many is not None
    assert contents(one) == contents(many) and one.digest == many.digest
    ledgers = [
        [pq.read_table(path)["uid"].to_pylist() for path in sorted(r.path.glob("ledger/*"))] for r in (one, many)
    ]
    assert ledgers[0] == ledgers[1]
