"""What was taken down stays down, in whatever body, through whichever link, and whenever it comes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from jobs import download, publish
from jobs.download_shard import Shard
from jobs.examine import Examiner
from jobs.journal import Journal, Outcome
from jobs.open_shard import OpenShard
from jobs.purge_journals import taken_of_journals
from pipelines.workflow.outside import Digests
from pipelines.workflow.step import identify, step
from tests.jobs.downloading import answer, body_of, fetched, names, settings, shards_of, write_pairs
from tests.jobs.refreshing import HOST, World, changes_of, contents, counts_of, quarantine_of, rows_of
from tests.vlp_core.web.site import Site
from vlp_core.data.layout import read_shards
from vlp_core.data.releases import newest
from vlp_core.data.takedowns import Live, Takedowns
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.tracker import Summary
from vlp_core.web.link import Answer
from vlp_core.web.settings import Fetch


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


def test_what_is_taken_down_while_links_are_asked_for_is_not_asked_for_any_more(tmp_path: Path) -> None:
    """Nor stored. Of a shard that is begun by then, or goes whole, or of the rows in between."""
    world, asked = World(tmp_path), list[str]()

    async def told(request: web.Request) -> web.StreamResponse:
        asked.append(request.match_info["path"])
        links = [f"http://pictures.test/{path}" for path in ("3.jpg", "5.jpg", "6.jpg")]
        world.take_down(url=links, sha256=sha256_of(body_of("4.jpg")))
        return await answer(request)

    pairs = write_pairs(tmp_path / "pairs", names([0, 1]), names([2, 3]), names([4]), names([5, 6]))
    with Site(told) as site:
        fetch = settings(site, lookahead=1, honour_robots=False)
        out = fetched(pairs, tmp_path / "out", fetch, world.root / "takedowns.parquet")
    assert asked == names([0, 1, 2, 4])
    rows = read_shards(out).to_pylist()
    down, refused = ("failed_to_download", "taken down"), ("failed_to_download", "refused picture")
    there = ("success", None)
    assert [(row["status"], row["error_message"]) for row in rows] == [*[there] * 3, down, refused, down, down]
    ledger = pq.read_table(out / "_ledger" / "00001.parquet").to_pylist()[1]
    assert [ledger[name] for name in ("outcome", "failure", "attempts")] == ["final", "taken_down", 0]


async def in_time(path: str) -> web.StreamResponse:
    return web.Response(body=body_of(path))


async def busy(path: str) -> web.StreamResponse:
    return web.Response(status=503, headers={"Retry-After": "6"})


async def slow(path: str) -> web.StreamResponse:
    await asyncio.sleep(2)
    return await in_time(path)


async def slow_and_busy(path: str) -> web.StreamResponse:
    await slow(path)
    return await busy(path)


@pytest.mark.parametrize(
    ("respond", "left", "lookahead"),
    [(in_time, 1, 9), (in_time, 1, 2), (busy, 0, 9), (slow, 0, 9), (slow_and_busy, 0, 9)],
    ids=["waits its turn", "is drawn next", "waits to be asked again", "on its way", "to be asked again"],
)
def test_what_is_taken_down_while_a_host_has_its_turns_is_not_asked_for_any_more(
    respond: Callable[[str], Awaitable[web.StreamResponse]], left: int, lookahead: int, tmp_path: Path
) -> None:
    """Nor stored, whatever comes of it: all of a list of one host waits for its turns."""
    world, asked = World(tmp_path), list[str]()

    async def told(request: web.Request) -> web.StreamResponse:
        asked.append(request.match_info["path"])
        world.take_down(url=[f"http://pictures.test/{path}" for path in names(range(left, 5))])
        return await respond(asked[-1])

    pairs = write_pairs(tmp_path / "pairs", names(range(5)))
    with Site(told) as site:
        fetch = settings(site, per_host_rate=0.25, lookahead=lookahead, honour_robots=False)
        out = fetched(pairs, tmp_path / "out", fetch, world.root / "takedowns.parquet")
    assert asked == names([0])
    rows = [(row["error_message"], row["sha256"]) for row in read_shards(out).to_pylist()]
    assert rows == [(None, sha256_of(body_of("0.jpg")))] * left + [("taken down", None)] * (5 - left)
    assert pq.read_table(out / "_ledger" / "00000.parquet")["attempts"].to_pylist() == [1, 0, 0, 0, 0]


def test_what_leads_to_a_host_that_is_taken_down_is_not_stored(tmp_path: Path) -> None:
    async def led(request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path == "1.jpg" and request.host.startswith("pictures"):
            return web.Response(status=302, headers={"Location": "http://down.test/1.jpg"})
        return await answer(request)

    world = World(tmp_path)
    world.take_down(host="down.test")
    pairs = write_pairs(tmp_path / "pairs", names(range(2)))
    with Site(led) as site:
        fetch = settings(site, honour_robots=False)
        out = fetched(pairs, tmp_path / "out", fetch, world.root / "takedowns.parquet")
    rows = [(row["error_message"], row["sha256"]) for row in read_shards(out).to_pylist()]
    assert rows == [(None, sha256_of(body_of("0.jpg"))), ("taken down", None)]


def test_what_came_before_a_kill_and_was_taken_down_since_is_not_stored(tmp_path: Path) -> None:
    world, fetch = World(tmp_path), Fetch(workers=0)
    pairs = write_pairs(tmp_path / "pairs", names(range(4)))
    (shard,) = shards_of(pairs, tmp_path / "out")
    opened = OpenShard(shard, Examiner(fetch))
    for row, link in opened.links():
        opened.take(row, Answer(body=body_of(link.url.rpartition("/")[2]), http_status=200, final_url=link.url))
    opened.close()
    stored = [opened_picture(shard, number) for number in range(4)]
    world.take_down(url="http://pictures.test/0.jpg", sha256=[sha256_of(body_of("1.jpg")), sha256_of(stored[2])])
    out = fetched(pairs, tmp_path / "out", fetch, world.root / "takedowns.parquet")
    rows = read_shards(out).to_pylist()
    assert [row["error_message"] for row in rows] == ["taken down", "refused picture", "refused picture", None]
    assert {row["sha256"] for row in rows} == {None, sha256_of(body_of("3.jpg"))}
    tar = (out / "00000.tar").read_bytes()
    assert [picture in tar for picture in stored] == [False, False, False, True]


def opened_picture(shard: Shard, number: int) -> bytes:
    """A picture as a killed download has it."""
    with Journal(shard.work) as journal:
        (outcome,) = (found for row, _, found in journal._lines() if row == number)
        assert outcome.place is not None
        return journal.picture(outcome.place)


def test_where_tombstones_lie_makes_no_other_download(tmp_path: Path) -> None:
    """Which is that of any other pipeline, and of the same command before they came."""

    def fingerprint(**more: Live) -> str:
        given = step("download", download.run, fetch=Fetch(), **more)
        return identify(given, lambda _: {}, Digests(tmp_path / "digests.json").of).fingerprint

    assert fingerprint() == fingerprint(live=Live(takedowns=tmp_path / "takedowns.parquet"))


def test_a_picture_that_a_killed_download_has_written_down_is_known_as_it_is_stored(tmp_path: Path) -> None:
    with Journal(tmp_path / "_work" / "00000") as journal:
        for row, picture in enumerate((b"one", b"other")):
            said = Outcome(status="success", attempts=1, asked=0, sha256=sha256_of(b"came as " + picture))
            journal.put(row, f"{row}", said, picture)
    down = Takedowns.read(World(tmp_path).take_down(sha256=sha256_of(b"other")))
    assert taken_of_journals(tmp_path, down)["uid"].to_pylist() == ["1"]
