"""The download stage against a real server on loopback."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from PIL import Image, ImageOps

from jobs import download, download_shard
from jobs.download_shard import Shard, fetch_shard, shard_files
from jobs.img2dataset_parts import make_shrink
from tests.vlp_core.web.site import Site, picture
from tests.vlp_core.web.test_sniff import png_claiming
from vlp_core.data.layout import ATTEMPTS, IMAGES, PAIRS, SUCCESS, read_shards
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of, uid_of
from vlp_core.tracker import Silent
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import sniff

ROOT = Path(__file__).parents[2]
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
    if path.startswith("dead"):
        return web.Response(status=404)
    return web.Response(body=picture(400, 300, seed=int(path.partition(".")[0])))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(_answer) as site:
        yield site


class Listener(Silent):
    """Keeps what the stage said of its progress, and what it warned of."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int | None, int, str]] = []
        self.warned: list[str] = []

    def progress(self, done: int, total: int | None, *, failed: int = 0, unit: str = "rows") -> None:
        self.said.append((done, total, failed, unit))

    def warn(self, text: str) -> None:
        self.warned.append(text)


def write_pairs(folder: Path, *shards: list[str], **extra: Any) -> Path:
    """A folder of pairs of these paths of the site, with two captions each and columns that came along."""
    folder.mkdir()
    for number, paths in enumerate(shards):
        urls = [f"http://pictures.test/{path}" for path in paths]
        columns = {
            "uid": [uid_of(url) for url in urls],
            "url": urls,
            "captions": [[f"the first of {url}", "ünd another"] for url in urls],
            "source": ["list.csv"] * len(urls),
        }
        table = pa.table(columns).cast(PAIRS)
        for name, value in extra.items():
            table = table.append_column(name, pa.array([value] * len(urls)))
        pq.write_table(table, folder / f"{number:05d}.parquet")
    return folder


def settings(site: Site, **options: Any) -> Fetch:
    resolve = (f"*.test={site.address}",)
    return Fetch(**{"resolve": resolve, "pause_s": 0.01, "deadline_s": 10.0, "window": 2, **options})


def one_shard(pairs: Path, out: Path, fetch: Fetch, digits: int = 4) -> Path:
    """The first shard, made in this process."""
    fetch_shard(Shard(name="00000", pairs=pairs / "00000.parquet", out=out, digits=digits, fetch=fetch))
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def names(*numbers: int) -> list[str]:
    return [f"{number}.jpg" for number in numbers]


def test_a_shard_has_img2datasets_layout_in_list_order_with_every_reason(site: Site, tmp_path: Path) -> None:
    paths = [*names(1, 2), *HOSTILE, *names(3)]
    out = one_shard(write_pairs(tmp_path / "pairs", paths), tmp_path / "out", settings(site))
    table = pq.read_table(out / "00000.parquet")
    assert table.schema == IMAGES
    assert table["key"].to_pylist() == [f"00000{row:04d}" for row in range(len(paths))]
    assert table["url"].to_pylist() == [f"http://pictures.test/{path}" for path in paths]
    reasons = dict(zip(paths, table["error_message"].to_pylist(), strict=True))
    assert reasons == {**dict.fromkeys(names(1, 2, 3)), **{path: reason for path, (_, reason) in HOSTILE.items()}}

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
    pairs = write_pairs(tmp_path / "pairs", [*names(*range(30)), *HOSTILE])
    first = one_shard(pairs, tmp_path / "first", settings(site, connections=1, threads=1))
    second = one_shard(pairs, tmp_path / "second", settings(site, connections=20, threads=4))
    assert contents(first) == contents(second)
    assert sorted(contents(first)) == sorted(shard_files("00000"))


def test_a_server_that_was_busy_at_first_leaves_no_trace_in_the_record(site: Site, tmp_path: Path) -> None:
    """How often it was asked stands beside the shard, in a folder that is no part of the record."""
    pairs = write_pairs(tmp_path / "pairs", [*names(1, 2), "dead.jpg"])
    smooth = one_shard(pairs, tmp_path / "smooth", settings(site))

    async def busy_once(request: web.Request) -> web.StreamResponse:
        if request.match_info["path"] == "1.jpg" and site.seen["1.jpg"] == 1:
            return web.Response(status=503)
        return await _answer(request)

    site.handler = busy_once
    site.seen.clear()
    bumpy = one_shard(pairs, tmp_path / "bumpy", settings(site))
    assert contents(bumpy) == contents(smooth)
    for out, attempts in ((smooth, [1, 1, 1]), (bumpy, [2, 1, 1])):
        table = pq.read_table(out / "_attempts" / "00000.parquet")
        assert table.schema == ATTEMPTS and table["attempts"].to_pylist() == attempts
        assert table["uid"].equals(pq.read_table(out / "00000.parquet")["uid"])


def test_columns_that_came_along_pass_through_with_their_types(site: Site, tmp_path: Path) -> None:
    extra = {"label": "cat", "when": date(2020, 1, 2), "score": np.float32(0.5), "width": 7}
    out = one_shard(write_pairs(tmp_path / "pairs", names(1), **extra), tmp_path / "out", settings(site))
    table = pq.read_table(out / "00000.parquet")
    assert table.column_names[len(IMAGES.names) :] == ["label", "when", "score", "given_width"]
    assert [str(table.schema.field(name).type) for name in ("when", "score")] == ["date32[day]", "float"]
    row = table.to_pylist()[0]
    assert (row["label"], row["when"], row["width"], row["given_width"]) == ("cat", date(2020, 1, 2), 341, 7)
    with tarfile.open(out / "00000.tar") as tar:
        meta = json.load(tar.extractfile("000000000.json"))  # type: ignore[arg-type]
    assert (meta["label"], meta["when"]) == ("cat", "2020-01-02")


def test_a_full_disk_is_named_and_leaves_nothing_behind(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = download_shard.Spill
    monkeypatch.setattr(download_shard, "Spill", lambda _: spill(Path("/dev/full")))
    pairs = write_pairs(tmp_path / "pairs", names(1, 2, 3))
    with pytest.raises(UserError, match=f"^{tmp_path}/out: no space left"):
        one_shard(pairs, tmp_path / "out", settings(site))
    assert list((tmp_path / "out").rglob("*")) == [tmp_path / "out" / "_work"]


def test_what_a_lost_worker_left_of_a_shard_goes_before_it_is_fetched_again(site: Site, tmp_path: Path) -> None:
    """Its pictures take room, and its progress would be counted beside that of the attempt which follows."""
    left = tmp_path / "out" / "_work" / "00000-dead" / "progress"
    others = tmp_path / "out" / "_work" / "00001-alive" / "progress"
    for progress in (left, others):
        progress.parent.mkdir(parents=True)
        progress.write_text("2 0")
    there: list[bool] = []

    async def looking(request: web.Request) -> web.StreamResponse:
        there.append(left.parent.exists())
        return await _answer(request)

    site.handler = looking
    one_shard(write_pairs(tmp_path / "pairs", names(1)), tmp_path / "out", settings(site))
    assert there == [False] and others.exists()


def test_the_stage_goes_on_where_it_was_and_rebuilds_what_is_damaged(site: Site, tmp_path: Path, cluster: str) -> None:
    shards = [names(0, 1, 2), [*names(3, 4), "dead.jpg"], names(6, 7), names(8, 9), names(10, 11)]
    pairs = write_pairs(tmp_path / "pairs", *shards, label="x")
    out, listener = tmp_path / "out", Listener()
    out.mkdir()
    summary = download.run(pairs=pairs, fetch=settings(site), out=out, tracker=listener)
    assert summary.counts == {"rows": 12, "success": 11, "failed": 1, "failed/http": 1}
    assert (out / summary.pictures["failures"]).read_bytes().startswith(b"\x89PNG")
    assert listener.said[-1] == (12, 12, 1, "rows")
    assert read_shards(out)["url"].equals(read_shards(pairs)["url"])
    assert not (out / "_work").exists()
    made, asked = contents(out), site.seen.total()
    assert asked == 12

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
    assert site.seen.total() == 0


def test_a_list_of_dead_links_ends_with_their_reasons_and_may_be_tried_again(
    site: Site, tmp_path: Path, cluster: str
) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["dead1", "dead2", "html.jpg"], ["dead3"])
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=r"^every link failed: 3 × http 404, 1 × not an image: html;"):
        download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent())
    assert contents(out) == {}


def test_no_shards_to_fetch_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shards of pairs"):
        download.run(pairs=tmp_path, fetch=Fetch(), out=tmp_path, tracker=Silent())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["no", "keep_ratio", "center_crop", "border", "keep_ratio_largest"])
def test_shrinking_is_img2datasets_resizer(kind: str, mode: Any) -> None:
    from img2dataset.resizer import Resizer

    body = picture(300, 200, kind=kind)
    shrunk = make_shrink(Fetch(image_size=128, resize_mode=mode, encode_quality=90))(body, sniff(body))
    jpeg, width, height, *_ = Resizer(128, mode, True, encode_quality=90)(io.BytesIO(body))
    assert shrunk is not None
    assert (shrunk.jpeg, shrunk.width, shrunk.height) == (jpeg, width, height)


@pytest.mark.parametrize("orientation", [0, *range(1, 9), 9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_stored_upright_with_the_size_it_is_seen_in(kind: str, orientation: int) -> None:
    """As Pillow turns it by its EXIF; one that EXIF says nothing of is stored as it is."""
    exif = Image.Exif()
    exif[274] = orientation
    body = picture(320, 200, kind=kind, exif=exif.tobytes())
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    assert seen.size == ((200, 320) if 5 <= orientation <= 8 else (320, 200))
    shrunk = make_shrink(Fetch(image_size=100))(body, sniff(body))
    assert shrunk is not None
    assert (shrunk.original_width, shrunk.original_height) == seen.size
    small = seen.convert("RGB").resize((shrunk.width, shrunk.height), Image.Resampling.BOX)
    stored = Image.open(io.BytesIO(shrunk.jpeg))
    assert not stored.getexif() and stored.size == small.size
    assert np.abs(np.asarray(stored).astype(int) - np.asarray(small)).mean() < 4


def _deep(width: int, height: int, kind: str, **options: Any) -> bytes:
    """Grey with 16 bits."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((height, width), 40_000, np.uint16)).save(buffer, kind, **options)
    return buffer.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


def test_sixteen_bits_and_transparency_are_turned_too() -> None:
    clear = io.BytesIO()
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).save(clear, "PNG", exif=_turned())
    for body, grey in ((_deep(30, 20, "PNG", exif=_turned()), 40_000 / 256), (clear.getvalue(), 255)):
        shrunk = make_shrink(Fetch())(body, sniff(body))
        assert shrunk is not None and (shrunk.width, shrunk.height) == (20, 30)
        assert abs(np.asarray(Image.open(io.BytesIO(shrunk.jpeg)).convert("L")).mean() - grey) < 2


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_a_channel_are_stored_as_eight_are(channels: int, kind: str) -> None:
    """They neither turn white nor lose their transparency."""
    ramp = np.linspace(0, 255, 300 * 300 * channels).reshape(300, 300, channels).astype(np.uint8)
    if channels == 4:
        ramp[:100, :, :3], ramp[:100, :, 3] = 0, 0  # clear, over black
    stored = []
    for pixels in (ramp, ramp.astype(np.uint16) * 257):
        body = cv2.imencode(kind, pixels)[1].tobytes()
        shrunk = make_shrink(Fetch())(body, sniff(body))
        assert shrunk is not None
        stored.append(np.asarray(Image.open(io.BytesIO(shrunk.jpeg)).convert("L")).astype(int))
    assert np.abs(stored[0] - stored[1]).max() <= 1
    assert channels != 4 or stored[1][0, 0] > 250


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (_deep(30, 20, "PNG", exif=_turned())[:100], "undecodable: png"),
        (_deep(1_100_000, 1, "TIFF"), "undecodable: tiff"),  # within max_pixels, beyond OpenCV's width
    ],
    ids=["cut short", "too wide"],
)
def test_what_the_decoder_itself_refuses_is_a_row_with_a_reason(body: bytes, reason: str) -> None:
    assert download_shard._examiner(Fetch())(body) == reason


def test_a_line_that_would_grow_beyond_bounds_is_refused(site: Site, tmp_path: Path) -> None:
    line = picture(30_000, 1, kind="PNG")
    examine = download_shard._examiner(Fetch(resize_only_if_bigger=False, max_pixels=10**6))
    assert examine(line) == "too many pixels"


def test_what_codecs_print_goes_nowhere_and_what_python_prints_shows() -> None:
    program = """
import os, sys
from jobs.img2dataset_parts import quiet_codecs
with quiet_codecs():
    os.write(2, b"codec\\n")
    print("python", file=sys.stderr)
os.write(2, b"after\\n")
print("last", file=sys.stderr)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stderr.split() == ["python", "after", "last"]
