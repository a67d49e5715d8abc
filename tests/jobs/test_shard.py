import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset

from jobs import shard as job
from tests.jobs.adopted import adopted
from tests.vlp_core.data.folders import write_images, write_selection
from vlp_core.data.index import ROW_GROUP, Reader
from vlp_core.data.layout import shard_names
from vlp_core.data.samples import Samples
from vlp_core.data.settings import Shard
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of_file
from vlp_core.tracker import Silent, Summary

pytestmark = pytest.mark.usefixtures("cluster")

SETTINGS = Shard(format="webdataset", size=40)


@pytest.fixture(scope="module", params=["own", "img2dataset's", "adopted"])
def images(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, [70, 80, 50], failed=[3, 4, 90], foreign=request.param != "own")
    return adopted(folder, tmp_path_factory.mktemp("adopted")) if request.param == "adopted" else folder


@pytest.fixture(scope="module")
def uids(images: Path) -> list[str]:
    return Samples.open(images).uids.to_pylist()


@pytest.fixture(scope="module")
def selection(uids: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = uids[5:180:2]
    captions = [[f"chosen {uid[:6]}", "also this"] for uid in chosen]
    return write_selection(tmp_path_factory.mktemp("select"), chosen, captions=captions)


def run(images: Path, selection: Path, out: Path, settings: Shard = SETTINGS) -> Summary:
    out.mkdir(exist_ok=True)
    return job.run(images=images, selection=selection, shard=settings, out=out, tracker=Silent())


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def contents(samples: Samples) -> list[tuple[str, list[str], int, bytes]]:
    """All there is of each sample, in order."""
    return [
        (samples.uid(i), samples.captions(i), samples.image_ids[i], samples.image_bytes(i)) for i in range(len(samples))
    ]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith((".", "_"))}


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_the_loader_sees_no_difference(images: Path, selection: Path, tmp_path: Path, format: str) -> None:
    """Read back with the selection or without it: the same order, uids, captions, identities and bytes."""
    summary = run(images, selection, tmp_path / "out", replace(SETTINGS, format=format))
    expected = contents(Samples.open(images, selection))
    assert contents(Samples.open(tmp_path / "out", selection)) == expected
    assert contents(Samples.open(tmp_path / "out")) == expected
    assert contents(Samples.open([tmp_path / "out", images], selection)) == expected
    assert summary.counts == {"pictures/stored": 197, "pictures/selected": 88, "shards": 3}


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_shards_are_equal_and_the_manifest_describes_them(
    images: Path, selection: Path, tmp_path: Path, format: str
) -> None:
    run(images, selection, tmp_path / "out", replace(SETTINGS, format=format))
    written = manifest(tmp_path / "out")
    assert written["resharded"] and written["format"] == format and written["reason"]
    counts = [entry["count"] for entry in written["shards"]]
    assert len(counts) == 3 and sum(counts) == 88 and max(counts) - min(counts) <= 1
    for entry in written["shards"]:
        assert sha256_of_file(tmp_path / "out" / entry["name"]) == entry["sha256"]


def test_a_stored_picture_is_read_at_most_once_and_a_selected_one_once_more(
    images: Path, selection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no hashes came with the pictures, each is hashed once, however many shards are written out of its own."""
    reads: list[int] = []
    read = Reader.read

    def counted(self: Reader, path: Path, offset: int, length: int) -> bytes:
        reads.append(length)
        return read(self, path, offset, length)

    monkeypatch.setattr(Reader, "read", counted)
    monkeypatch.setattr(job, "map_shards", lambda write, tasks: ((task, write(task)) for task in tasks))
    run(images, selection, tmp_path / "out", replace(SETTINGS, size=20))
    hashed = 0 if (images / "00000_index.parquet").exists() else 197
    assert len(reads) == hashed + 88


def test_rows_keep_what_came_along(images: Path, selection: Path, tmp_path: Path) -> None:
    """Further columns survive, keys are those of the new shards, and every row is a success."""
    run(images, selection, tmp_path / "out")
    by_url = {
        row["url"]: row for name in shard_names(images) for row in pq.read_table(images / f"{name}.parquet").to_pylist()
    }
    for name in shard_names(tmp_path / "out"):
        rows = pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist()
        assert [row["key"] for row in rows] == [f"{name}{number:04d}" for number in range(len(rows))]
        for row in rows:
            assert row["label"] == by_url[row["url"]]["label"] and row["status"] == "success"
            assert row["caption"] == row["captions"][0] == f"chosen {row['uid'][:6]}"


def test_webdataset_reads_the_tars(images: Path, selection: Path, tmp_path: Path) -> None:
    run(images, selection, tmp_path / "out")
    expected = contents(Samples.open(images, selection))
    tars = [str(tmp_path / "out" / entry["name"]) for entry in manifest(tmp_path / "out")["shards"]]
    found = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [sample["jpg"] for sample in found] == [body for *_, body in expected]
    assert [sample["txt"].decode() for sample in found] == [captions[0] for _, captions, *_ in expected]
    assert [json.loads(sample["json"])["uid"] for sample in found] == [uid for uid, *_ in expected]


def test_parquet_row_groups_are_small(images: Path, selection: Path, tmp_path: Path) -> None:
    run(images, selection, tmp_path / "out", Shard(format="parquet", size=100))
    metadata = pq.ParquetFile(tmp_path / "out" / "00000.images.parquet").metadata
    assert [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)] == [ROW_GROUP, ROW_GROUP, 24]


@pytest.mark.parametrize(
    ("settings", "resharded", "reason"),
    [
        (Shard(sparse_below=0.5), True, "88 of 197 stored pictures are selected (44.7%), less than 50%"),
        (Shard(sparse_below=0.4), False, "88 of 197 stored pictures are selected (44.7%), at least 40%"),
        (Shard(format="none", sparse_below=1.0), False, "rewriting is off"),
        (Shard(format="webdataset", sparse_below=0.0), True, "format webdataset was asked for"),
    ],
    ids=["sparse", "dense", "none", "forced"],
)
def test_only_a_sparse_or_asked_for_selection_is_rewritten(
    images: Path, selection: Path, tmp_path: Path, settings: Shard, resharded: bool, reason: str
) -> None:
    run(images, selection, tmp_path / "out", settings)
    written = manifest(tmp_path / "out")
    assert written["resharded"] == resharded and written["reason"].startswith(reason)
    assert bool(shard_names(tmp_path / "out")) == resharded == bool(written["shards"])
    samples = Samples.open([tmp_path / "out", images], selection)
    assert contents(samples) == contents(Samples.open(images, selection))


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_a_run_that_was_killed_goes_on_to_the_same_files(
    images: Path, selection: Path, tmp_path: Path, format: str
) -> None:
    """Whole shards stay, a half-written one is written again, leftovers go; in the end all bytes are equal."""
    settings = replace(SETTINGS, format=format)
    run(images, selection, tmp_path / "whole", settings)
    run(images, selection, tmp_path / "out", settings)
    suffix = "tar" if format == "webdataset" else "images.parquet"
    kept = (tmp_path / "out" / f"00000.{suffix}").stat()
    for name in ("00001_index.parquet", "00001_stats.json", "00002_index.parquet", f"00002.{suffix}", "manifest.json"):
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / f"00001.{suffix}").write_bytes(b"half")
    (tmp_path / "out" / ".00002.tar.1234.tmp").write_bytes(b"half")
    run(images, selection, tmp_path / "out", settings)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert not list((tmp_path / "out").glob(".*"))
    after = (tmp_path / "out" / f"00000.{suffix}").stat()
    assert (after.st_ino, after.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


@pytest.mark.parametrize("harm", ["deleted", "cut", "altered"])
@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_a_result_that_was_damaged_is_mended_to_the_same_files(
    images: Path, selection: Path, tmp_path: Path, format: str, harm: str
) -> None:
    """As when the runner takes a result back: whichever of a shard's four files is bad, all bytes are equal again."""
    out, settings = tmp_path / "out", replace(SETTINGS, format=format)
    run(images, selection, out, settings)
    whole = files(out)
    suffix = "tar" if format == "webdataset" else "images.parquet"
    for name in (f"00001.{suffix}", "00001.parquet", "00001_stats.json", "00001_index.parquet"):
        body = whole[name]
        (out / name).unlink()
        if harm != "deleted":
            (out / name).write_bytes(body[:-9] if harm == "cut" else bytes([body[0] ^ 1]) + body[1:])
        run(images, selection, out, settings)
        assert files(out) == whole, name


def test_a_selection_of_nothing_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it keeps no picture"):
        run(images, write_selection(tmp_path / "select", []), tmp_path / "out")


def test_a_damaged_source_shard_is_named_and_leaves_no_manifest(selection: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", [70, 80, 50], failed=[3, 4, 90])
    tar = tmp_path / "images" / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"00001\.tar: .* fetch this shard again"):
        run(tmp_path / "images", selection, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
