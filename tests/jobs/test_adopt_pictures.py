"""A folder of pictures with a caption table: read where it lies, the rows of a file merged, what is no picture kept
as a failed row."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from jobs import adopt_pictures, ingest
from tests.vlp_core.data.folders import jpeg
from vlp_core.curation.settings import Ingest
from vlp_core.data.layout import read_shards
from vlp_core.data.samples import Samples
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of, uid_of
from vlp_core.tracker import Silent

pytestmark = pytest.mark.usefixtures("cluster")

ROWS = [
    *((f"a/{number}.jpg", f"picture {number}", "x") for number in range(5)),
    ("a/1.jpg", "another name of 1", "x"),
    ("a/none.jpg", "not there", "y"),
    ("a/notes.txt", "no picture", "y"),
    ("a/\0.jpg", "no name", "y"),
    ("../outside.jpg", "somebody else's", "y"),
]


def write_table(path: Path) -> Path:
    rows = [dict(zip(("file_name", "caption", "label"), row, strict=True)) for row in ROWS]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        pyarrow.csv.write_csv(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    for number in range(5):
        (folder / "a" / f"{number}.jpg").write_bytes(jpeg(number))
    (folder / "a" / "notes.txt").write_text("words")
    (tmp_path / "outside.jpg").write_bytes(jpeg(9))
    return folder


def adopted(table: Path, folder: Path, out: Path) -> Path:
    pairs = out.with_name("pairs")
    for made in (pairs, out):
        made.mkdir(exist_ok=True)
    ingest.run(sources=table, ingest=Ingest(shard_size=4), out=pairs, tracker=Silent(), files=True)
    adopt_pictures.run(pairs=pairs, folders=((table.parent.name, str(folder)),), out=out, tracker=Silent())
    return out


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_pictures_are_read_where_they_lie(photos: Path, tmp_path: Path, ending: str) -> None:
    images = adopted(write_table(photos / f"captions.{ending}"), photos, tmp_path / "images")
    samples = Samples.open(images)
    found = {samples.uid(i): (samples.image_bytes(i), samples.captions(i)) for i in range(len(samples))}
    assert found == {
        uid_of(f"file:photos/a/{number}.jpg"): (
            jpeg(number),
            [f"picture {number}", *(["another name of 1"] if number == 1 else [])],
        )
        for number in range(5)
    }
    rows = {row["url"]: row for row in read_shards(images).to_pylist()}
    one = rows["file:photos/a/1.jpg"]
    assert (one["original_width"], one["original_height"], one["format"], one["label"]) == (40, 30, "jpeg", "x")
    assert (one["sha256"], one["bytes"], one["source"]) == (sha256_of(jpeg(1)), len(jpeg(1)), "captions")
    reasons = {url.removeprefix("file:photos/"): row["error_message"] for url, row in rows.items()}
    assert {name: reason for name, reason in reasons.items() if reason} == {
        "a/none.jpg": "no such file",
        "a/notes.txt": "not an image: text",
        "a/\0.jpg": "no such file",
        "../outside.jpg": "outside the folder",
    }


def test_a_run_that_was_killed_goes_on_to_the_same_files(photos: Path, tmp_path: Path) -> None:
    table = write_table(photos / "captions.csv")
    out = adopted(table, photos, tmp_path / "images")
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    kept = (out / "00000.parquet").stat().st_ino
    (out / "00001.parquet").unlink()
    pairs = tmp_path / "pairs"
    adopt_pictures.run(pairs=pairs, folders=(("photos", str(photos)),), out=out, tracker=Silent())
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before
    assert (out / "00000.parquet").stat().st_ino == kept


def test_a_table_whose_files_lie_elsewhere_is_told(photos: Path, tmp_path: Path) -> None:
    table = write_table(photos / "captions.csv")
    with pytest.raises(UserError, match=r"none of the 9 files .* \(.*8 × no such file.*\); --adopt\.pictures names"):
        adopted(table, tmp_path, tmp_path / "images")
