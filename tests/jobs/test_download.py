"""The download stage against a real server on loopback: what it writes, and that it goes on where it was."""

import asyncio
import errno
import io
import json
import resource
import shutil
import tarfile
import time
from collections.abc import Iterator
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from PIL import Image

from jobs import download, journal
from jobs.download_shard import WORK, Shard, shard_files
from jobs.examine import Examiner
from jobs.open_shard import OpenShard
from tests.forks import FORKS
from tests.jobs.downloading import (
    Listener,
    answer,
    body_of,
    contents,
    fetched,
    known_paths,
    names,
    settings,
    shards_of,
    write_pairs,
)
from tests.vlp_core.web.site import Site, picture
from tests.vlp_core.web.test_sniff import png_claiming
from vlp_core.data.layout import IMAGES, LEDGER, SUCCESS, read_shards
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.tracker import Silent
from vlp_core.web.settings import Fetch

HOSTILE = {
    "html.jpg": (web.Response(body=b"<html>gone</html>", content_type="image/jpeg"), "not an image: html"),
    "bomb.png": (web.Response(body=png_claiming(30000, 30000)), "too many pixels"),
    "cut.png": (web.Response(body=picture(kind="PNG")[:60]), "undecodable: png"),
    "shy.jpg": (web.Response(body=picture(), headers={"X-Robots-Tag": "noindex, noai"}), "opted out: noai"),
    "dead.jpg": (web.Response(status=404), "http 404"),
    "empty.jpg": (web.Response(body=b""), "empty"),
}


async def _answer(request: web.Request) -> web.StreamResponse:
    path = request.match_info["path"]
    if path in HOSTILE:
        hostile = HOSTILE[path][0]
        return web.Response(body=hostile.body, status=hostile.status, headers=hostile.headers)
    return web.Response(status=500) if path == "busy" else await answer(request)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(_answer) as site:
        yield site


def test_a_shard_has_img2datasets_layout_in_list_order_with_every_reason(site: Site, tmp_path: Path) -> None:
    paths = [*names([1, 2]), *HOSTILE, *names([3])]
    out = fetched(write_pairs(tmp_path / "pairs", paths), tmp_path / "out", settings(site))
    table = pq.read_table(out / "00000.parquet")
    assert table.schema == IMAGES
    assert table["key"].to_pylist() == [f"00000{row:04d}" for row in range(len(paths))]
    assert table["url"].to_pylist() == [f"http://pictures.test/{path}" for path in paths]
    reasons = dict(zip(paths, table["error_message"].to_pylist(), strict=True))
    assert reasons == {**dict.fromkeys(names([1, 2, 3])), **{path: reason for path, (_, reason) in HOSTILE.items()}}

    rows = {row["key"]: row for row in table.to_pylist()}
    with tarfile.open(out / "00000.tar") as tar:
        members = tar.getmembers()
        bodies = {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    kept = [key for key, row in rows.items() if row["status"] == SUCCESS]
    assert [member.name for member in members] == [f"{key}.{kind}" for key in kept for kind in ("jpg", "json", "txt")]
    assert {member.mtime for member in members} == {0}
    for key in kept:
        row = rows[key]
        body = picture(400, 300, seed=int(row["url"].rpartition("/")[2].partition(".")[0]))
        assert (row["sha256"], row["bytes"], row["format"]) == (sha256_of(body), len(body), "jpeg")
        assert (row["original_width"], row["original_height"], row["width"], row["height"]) == (400, 300, 341, 256)
        assert Image.open(io.BytesIO(bodies[f"{key}.jpg"])).size == (341, 256)
        assert bodies[f"{key}.txt"].decode() == row["caption"] == row["captions"][0]
        assert json.loads(bodies[f"{key}.json"]) == row

    index = pq.read_table(out / "00000_index.parquet").to_pylist()
    tar_bytes = (out / "00000.tar").read_bytes()
    assert [entry["uid"] for entry in index] == [rows[key]["uid"] for key in kept]
    for key, entry in zip(kept, index, strict=True):
        assert tar_bytes[entry["offset"] : entry["offset"] + entry["length"]] == bodies[f"{key}.jpg"]

    stats = json.loads((out / "00000_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["failed_to_download"], stats["failed_to_resize"]) == (9, 3, 3, 3)


def test_the_same_bytes_in_give_the_same_files_out(site: Site, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", [*names(range(30)), *HOSTILE])
    first = fetched(pairs, tmp_path / "first", settings(site, connections=1, threads=1))
    second = fetched(pairs, tmp_path / "second", settings(site, connections=20, threads=4))
    assert contents(first) == contents(second)
    assert sorted(contents(first)) == sorted(shard_files("00000"))


def test_however_many_shards_there_are_few_are_held_at_once(site: Site, tmp_path: Path) -> None:
    """So that memory does not grow with the list: a shard is held from its first link to its last answer."""
    pairs = write_pairs(tmp_path / "pairs", *([f"dead{shard}-{row}" for row in range(4)] for shard in range(60)))
    held = []

    async def counting(request: web.Request) -> web.StreamResponse:
        held.append(len(list((tmp_path / "out" / WORK).iterdir())))
        return await _answer(request)

    site.handler = counting
    out = fetched(pairs, tmp_path / "out", settings(site, lookahead=8, honour_robots=False))
    assert len(list(out.glob("*_stats.json"))) == 60
    assert len(held) == 240 and max(held) <= 5, "two shards of links, and those that are being written"


@pytest.mark.parametrize("rows", [1, 4])
def test_shards_that_wait_for_slow_answers_are_bounded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Else descriptors run out. So far no other link waits for them, and their end lets the next shard begin."""
    monkeypatch.setattr("jobs.fetch_worker.OPEN_SHARDS", 5)
    shards = ([f"dead{shard}-{row}" for row in ["slow", *range(rows - 1)]] for shard in range(40))
    pairs, out = write_pairs(tmp_path / "pairs", *shards), tmp_path / "out"
    held, quick, all_quick = [], 0, asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal quick
        held.append(len(list((out / WORK).iterdir())))
        is_slow = request.path.endswith("slow")
        quick += not is_slow
        if quick == 5 * (rows - 1):
            all_quick.set()
        if is_slow:
            await asyncio.wait_for(all_quick.wait(), 50)
        return await _answer(request)

    site.handler = slow
    fetched(pairs, out, settings(site, honour_robots=False, deadline_s=60.0, retries=0))
    assert len(list(out.glob("*_stats.json"))) == 40 and not list(out.glob(f"{WORK}/*"))
    assert len(held) == 40 * rows and max(held) == 5
    assert set(read_shards(out)["error_message"].to_pylist()) == {"http 404"}


def test_a_shard_keeps_none_of_its_links_when_they_are_drawn(tmp_path: Path) -> None:
    """It may wait long for the last of them, and so may many."""
    shard = shards_of(write_pairs(tmp_path / "pairs", names(range(2000))), tmp_path / "out")[0]
    before = pa.total_allocated_bytes()
    opened = OpenShard(shard, Examiner(Fetch()))
    assert len(list(opened.links())) == 2000
    assert pa.total_allocated_bytes() == before
    opened.close()


def test_a_shard_that_was_published_while_it_was_opened_is_not_asked_for_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the worker that had it, and that was thought to be lost."""
    pairs, out = write_pairs(tmp_path / "pairs", names([1, 2])), tmp_path / "out"
    made = contents(fetched(pairs, tmp_path / "whole", settings(site)))
    site.seen.clear()

    def late(shard: Shard, examine: Examiner) -> OpenShard:
        shutil.copytree(tmp_path / "whole", out, dirs_exist_ok=True)
        return OpenShard(shard, examine)

    monkeypatch.setattr("jobs.fetch_worker.OpenShard", late)
    assert contents(fetched(pairs, out, settings(site))) == made
    assert not site.seen and not list(out.glob(f"{WORK}/*"))


def test_links_that_one_shard_waits_for_keep_nobody_from_the_next(site: Site, tmp_path: Path) -> None:
    last = asyncio.Event()

    async def waiting(request: web.Request) -> web.StreamResponse:
        if request.path == "/1.jpg":
            await last.wait()
        if request.path == "/9.jpg":
            last.set()
        return await _answer(request)

    site.handler = waiting
    pairs = write_pairs(tmp_path / "pairs", *(names(range(first, first + 3)) for first in (1, 4, 7)))
    out = fetched(pairs, tmp_path / "out", settings(site, deadline_s=60.0, retries=0))
    assert read_shards(out, ["status"])["status"].to_pylist() == [SUCCESS] * 9


def test_the_ledger_says_what_came_of_each_link_and_the_record_does_not_say_how_it_came(
    site: Site, tmp_path: Path
) -> None:
    """A server that was busy at first leaves no trace but in the folder that is no part of the record."""
    pairs = write_pairs(tmp_path / "pairs", [*names([1, 2]), "dead.jpg", "html.jpg", "busy"])

    def served(times: int) -> Path:
        async def busy(request: web.Request) -> web.StreamResponse:
            path = request.match_info["path"]
            if path == "busy" or (path == "1.jpg" and site.seen[path] <= times):
                return web.Response(status=503)
            reply = await _answer(request)
            if path == "2.jpg":
                reply.headers.update({"ETag": '"two"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"})
            return reply

        site.handler = busy
        site.seen.clear()
        return fetched(pairs, tmp_path / f"out{times}", settings(site))

    smooth, bumpy = served(0), served(1)
    assert contents(bumpy) == contents(smooth)
    started = int(time.time()) - 60
    for out, attempts in ((smooth, [1, 1, 1, 1, 3]), (bumpy, [2, 1, 1, 1, 3])):
        table = pq.read_table(out / "_ledger" / "00000.parquet")
        assert table.schema == LEDGER and table["attempts"].to_pylist() == attempts
        assert table["uid"].equals(pq.read_table(out / "00000.parquet")["uid"])
        assert table["first_asked"].equals(table["last_asked"])
        assert all(when.timestamp() >= started for when in table["last_asked"].to_pylist())
        assert table["outcome"].to_pylist() == ["success", "success", "final", "final", "may_pass"]
        assert table["failure"].to_pylist() == [None, None, "http", "not_an_image", "http"]
        assert table["reason"].to_pylist() == [None, None, "http 404", "not an image: html", "http 503"]
        assert table["http_status"].to_pylist() == [200, 200, 404, 200, 503]
        assert table["final_url"].to_pylist() == pq.read_table(pairs / "00000.parquet")["url"].to_pylist()
        assert table["etag"].to_pylist() == [None, '"two"', None, None, None]
        assert table["last_modified"].to_pylist() == [None, "Sat, 01 Jan 2022 00:00:00 GMT", None, None, None]
        bodies = [body_of("1.jpg"), body_of("2.jpg"), None, HOSTILE["html.jpg"][0].body, None]
        assert table["sha256"].to_pylist() == [body and sha256_of(body) for body in bodies]


def test_columns_that_came_along_pass_through_with_their_types(site: Site, tmp_path: Path) -> None:
    extra = {"label": "cat", "when": date(2020, 1, 2), "score": np.float32(0.5), "width": 7}
    out = fetched(write_pairs(tmp_path / "pairs", names([1]), **extra), tmp_path / "out", settings(site))
    table = pq.read_table(out / "00000.parquet")
    assert table.column_names[len(IMAGES.names) :] == ["label", "when", "score", "given_width"]
    assert [str(table.schema.field(name).type) for name in ("when", "score")] == ["date32[day]", "float"]
    row = table.to_pylist()[0]
    assert (row["label"], row["when"], row["width"], row["given_width"]) == ("cat", date(2020, 1, 2), 341, 7)
    with tarfile.open(out / "00000.tar") as tar:
        meta = json.load(tar.extractfile("000000000.json"))  # type: ignore[arg-type]
    assert (meta["label"], meta["when"]) == ("cat", "2020-01-02")


def test_a_full_disk_is_named_and_what_was_fetched_is_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, out = write_pairs(tmp_path / "pairs", names(range(20))), tmp_path / "out"
    writing = journal.os.pwrite

    def pwrite(fd: int, body: bytes, at: int) -> int:
        if len(body) > 1000 and at > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return writing(fd, body, at)

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "pwrite", pwrite)
        with pytest.raises(UserError, match=f"^{out}: no space left"):
            download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent())
    settled = {path: site.seen[path] for path in known_paths(pairs, out)}
    download.run(pairs=pairs, fetch=settings(site, threads=1), out=out, tracker=Silent())
    assert settled and {path: site.seen[path] for path in settled} == settled
    assert contents(out) == contents(fetched(pairs, tmp_path / "whole", settings(site)))


def _short_of_descriptors(pairs: Path, out: Path, fetch: Fetch, said: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
    with pytest.raises(UserError) as refused:
        download.run(pairs=pairs, fetch=fetch, out=out, tracker=Silent())
    said.send(str(refused.value))


def test_too_many_open_files_are_named(site: Site, tmp_path: Path) -> None:
    async def held(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(10)
        return web.Response()

    site.handler = held
    pairs, out = write_pairs(tmp_path / "pairs", *([f"dead{shard}"] for shard in range(60))), tmp_path / "out"
    here, there = FORKS.Pipe()
    process = FORKS.Process(target=_short_of_descriptors, args=(pairs, out, settings(site), there))
    process.start()
    assert here.poll(60)
    assert here.recv().startswith(f"{out}: too many files are open")
    process.join(60)


def test_the_stage_goes_on_where_it_was_and_rebuilds_what_is_damaged(site: Site, tmp_path: Path, cluster: str) -> None:
    shards = [names([0, 1, 2]), [*names([3, 4]), "dead.jpg"], names([6, 7]), names([8, 9]), names([10, 11])]
    pairs = write_pairs(tmp_path / "pairs", *shards, label="x")
    out, listener = tmp_path / "out", Listener()
    out.mkdir()
    summary = download.run(pairs=pairs, fetch=settings(site, workers=1), out=out, tracker=listener)
    assert summary.counts == {"rows": 12, "success": 11, "failed": 1, "failed/http": 1}
    assert (out / summary.pictures["failures"]).read_bytes().startswith(b"\x89PNG")
    assert listener.said[-1] == (12, 12, 1, "rows")
    assert read_shards(out)["url"].equals(read_shards(pairs)["url"])
    assert not (out / "_work").exists()
    made = contents(out)
    assert site.seen.total() == 12

    with (out / "00000.tar").open("rb+") as tar:
        tar.truncate(20_000)
    (out / "00001.parquet").write_bytes(b"PAR1 and no more")
    (out / "00002_index.parquet").unlink()
    (out / "00003.parquet").unlink()  # killed before it was published
    site.seen.clear()
    listener = Listener()
    again = download.run(pairs=pairs, fetch=settings(site), out=out, tracker=listener)
    assert again == summary
    assert contents(out) == made
    assert sorted(site.seen) == sorted(path for shard in shards[:4] for path in shard)
    assert [text.partition(": the shard is damaged")[0] for text in listener.warned] == [
        str(out / f"{name}.parquet") for name in ("00000", "00001", "00002")
    ]
    assert not any("\n" in text for text in listener.warned)

    site.seen.clear()
    assert download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent()) == summary
    assert not site.seen


def test_a_list_of_dead_links_ends_with_their_reasons_and_those_that_are_final_are_not_asked_again(
    site: Site, tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["dead1", "dead2", "html.jpg"], ["dead3"], ["busy"])
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        with pytest.raises(UserError, match=r"^every link failed: 3 × http 404, .* × not an image: html.*--force"):
            download.run(pairs=pairs, fetch=settings(site, retries=0), out=out, tracker=Silent())
        assert not download.has_answers(out, refresh=False) and download.has_answers(out, refresh=True)
    assert site.seen == {**dict.fromkeys(["dead1", "dead2", "html.jpg", "dead3"], 1), "busy": 2}


def test_no_shards_to_fetch_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shards of pairs"):
        download.run(pairs=tmp_path, fetch=Fetch(), out=tmp_path, tracker=Silent())
