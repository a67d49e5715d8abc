"""Hash: a row a fetched picture in list order, kept over a kill, damage named."""

from pathlib import Path

import pytest

from jobs import hash as hash_stage
from tests.jobs.pictures import Picture, stored, write_images
from tests.vlp_core.curation.drawings import blotches, jpeg
from vlp_core.curation.hashes import colours, grey, phash, thumbnail
from vlp_core.data.layout import HASHES, read_shards
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of
from vlp_core.tracker import Silent

PICTURES = [
    Picture(url=f"http://h.test/{number}", body=jpeg(blotches(number, width=200 + number)) if number != 3 else None)
    for number in range(8)
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), PICTURES, shard_size=3)


def test_each_fetched_picture_has_the_hashes_of_what_is_stored_and_the_size_it_came_in(
    images: Path, tmp_path: Path, cluster: str
) -> None:
    summary = hash_stage.run(images=images, out=tmp_path, tracker=Silent())
    found = read_shards(tmp_path)
    assert found.schema.equals(HASHES) and summary.counts["pictures/hashed"] == 7
    fetched = [(picture, picture.body) for picture in PICTURES if picture.body is not None]
    for row, (picture, body) in zip(found.to_pylist(), fetched, strict=True):
        small = thumbnail(stored(body, 64))
        assert (row["uid"], row["sha256"]) == (picture.uid, sha256_of(body))
        assert (row["phash"], row["colour"], row["grey"]) == (int(phash(small)), colours(small), grey(small))
        assert (row["width"], row["height"]) == (200 + int(picture.url.rpartition("/")[2]), 240)


def test_whole_tables_stay_and_damaged_ones_are_made_again(images: Path, tmp_path: Path, cluster: str) -> None:
    hash_stage.run(images=images, out=tmp_path, tracker=Silent())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept_at = (tmp_path / "00000.parquet").stat().st_ino
    (tmp_path / "00001.parquet").write_bytes(before["00001.parquet"][:100])
    (tmp_path / "00002.parquet").write_bytes(before["00000.parquet"])
    (tmp_path / ".00002.parquet.0a.tmp").write_bytes(b"half")
    hash_stage.run(images=images, out=tmp_path, tracker=Silent())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (tmp_path / "00000.parquet").stat().st_ino == kept_at


def test_a_picture_that_cannot_be_decoded_is_named_with_its_shard(tmp_path: Path, cluster: str) -> None:
    images = write_images(tmp_path / "images", PICTURES[:2])
    tar = images / "00000.tar"
    tar.write_bytes(tar.read_bytes().replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=r"00000\.tar: the picture of [0-9a-f]{32} cannot be decoded"):
        hash_stage.run(images=images, out=out, tracker=Silent())
