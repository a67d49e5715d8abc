"""Dedup: on a corpus that knows its copies, every planted one goes and no other row does."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import dedup, hash, near
from tests.jobs.filtered import filtered
from tests.jobs.pictures import Picture, write_images
from tests.vlp_core.curation.drawings import WAYS, altered, blotches, jpeg
from vlp_core.curation.settings import Filter, Near
from vlp_core.data.layout import COPIES
from vlp_core.errors import UserError
from vlp_core.identity import uid_of
from vlp_core.miniature.settings import Corpus
from vlp_core.miniature.weave import Web
from vlp_core.tracker import Silent, Summary


def deduplicated(
    pictures: list[Picture], folder: Path, *rules: str, scores: tuple[Path, ...] = ()
) -> tuple[pa.Table, Summary]:
    """Pictures through filter, hash, near and dedup; `folder` then holds images, verdicts, hashes, near and copies."""
    images = write_images(folder / "images", pictures, shard_size=200)
    verdicts, hashes, alike, copies = (folder / name for name in ("verdicts", "hashes", "near", "copies"))
    for out in (hashes, alike, copies):
        out.mkdir()
    filtered(images, verdicts, Filter(rules=rules or ("captions>=1",)))
    hash.run(images=images, out=hashes, tracker=Silent())
    near.run(hashes=hashes, near=Near(), out=alike, tracker=Silent())
    return judged(folder, scores)


def judged(folder: Path, scores: tuple[Path, ...] = ()) -> tuple[pa.Table, Summary]:
    images, verdicts, alike, copies = (folder / name for name in ("images", "verdicts", "near", "copies"))
    summary = dedup.run(images=images, near=alike, verdicts=verdicts, scores=scores, out=copies, tracker=Silent())
    table = pq.read_table(copies / "00000.parquet")
    assert table.schema.equals(COPIES)
    return table, summary


def test_every_planted_copy_goes_and_no_other_row_does(tmp_path: Path, cluster: str) -> None:
    web = Web(Corpus(scenes=150, retrieval=20, per_class=1, per_held_out_class=1, exact=0.1, near=0.2))
    answers = {page.url: page for page in web.pages}
    rows = [
        row for row in web.rows_of("train") if row.kind not in ("dead", "html", "hostile", "optout", "tiny", "leak")
    ]
    pictures = []
    for row in rows:
        page = answers[row.url]
        page = answers[page.headers["Location"]] if "Location" in page.headers else page
        pictures.append(Picture(url=row.url, body=page.body, captions=row.captions))
    table, summary = deduplicated(pictures, tmp_path)

    cluster_of = {uid_of(row.url): row.original or uid_of(row.url) for row in rows}
    found: dict[str, set[str]] = {}
    for row in table.to_pylist():
        found.setdefault(row["kept_uid"], {row["kept_uid"]}).add(row["uid"])
    planted: dict[str, set[str]] = {}
    for uid, original in cluster_of.items():
        planted.setdefault(original, set()).add(uid)
    assert sorted(map(sorted, found.values())) == sorted(sorted(uids) for uids in planted.values() if len(uids) > 1)
    kinds = [row.kind for row in rows]
    assert summary.counts["copies/exact"] + summary.counts["copies/near"] == kinds.count("exact") + kinds.count("near")
    assert min(kinds.count("exact"), kinds.count("near")) >= 15


def test_the_largest_stays_copies_name_it_and_filtered_pictures_take_no_part(tmp_path: Path, cluster: str) -> None:
    image = blotches(1)
    larger = altered(image, "larger")
    pictures = [
        Picture(url="http://h.test/original", body=jpeg(image), captions=["the original"]),
        Picture(url="http://h.test/same", body=jpeg(image), captions=["the same", "the original"]),
        Picture(url="http://h.test/other", body=jpeg(blotches(2)), captions=["another one"]),
        Picture(url="http://h.test/larger", body=larger, captions=["a larger one"]),
        Picture(url="http://h.test/larger2", body=larger, captions=["another larger one"]),
        Picture(url="http://h.test/largest", body=jpeg(image.resize((900, 675))), captions=["IMG_1.jpg"]),
        Picture(url="http://h.test/dead", body=None, captions=["nothing there"]),
    ]
    table, summary = deduplicated(pictures, tmp_path, "filename=no")
    name = {picture.uid: picture.url.rpartition("/")[2] for picture in pictures}
    found = {name[row["uid"]]: (name[row["kept_uid"]], row["reason"]) for row in table.to_pylist()}
    assert found == {"original": ("larger", "near"), "same": ("larger", "near"), "larger2": ("larger", "exact")}
    assert summary.counts == {"pictures/passed": 5, "copies/exact": 1, "copies/near": 2, "pictures/kept": 2}
    with Image.open(tmp_path / "copies" / summary.pictures["copies"]) as drawn:
        assert drawn.width > 500
    tar = tmp_path / "images/00000.tar"
    tar.write_bytes(bytes(tar.stat().st_size))  # no copy is another for that the picture of it cannot be drawn
    again, _ = judged(tmp_path)
    assert again == table


def test_of_equal_size_the_better_score_stays_and_no_score_is_the_worst(tmp_path: Path, cluster: str) -> None:
    pictures = [Picture(url=f"http://h.test/{number}", body=jpeg(blotches(1))) for number in range(3)]
    (tmp_path / "scores").mkdir()
    clip = pa.array([[], [0.1, 0.2], [0.15, 0.3]], pa.list_(pa.float32()))
    uids = [picture.uid for picture in pictures]
    pq.write_table(pa.table({"uid": uids, "clip": clip}), tmp_path / "scores" / "00000.parquet")
    table, _ = deduplicated(pictures, tmp_path, scores=(tmp_path / "scores",))
    assert dict(zip(table["uid"].to_pylist(), table["kept_uid"].to_pylist(), strict=True)) == {
        uids[0]: uids[2],
        uids[1]: uids[2],
    }


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_altering_is_found_near(way: str, tmp_path: Path, cluster: str) -> None:
    pictures = [Picture(url=f"http://h.test/{number}", body=jpeg(blotches(number))) for number in range(4)]
    pictures.append(Picture(url="http://h.test/copy", body=altered(blotches(2), way)))
    table, _ = deduplicated(pictures, tmp_path)
    assert table["reason"].to_pylist() == ["near"]
    assert {*table["uid"].to_pylist(), *table["kept_uid"].to_pylist()} == {pictures[2].uid, pictures[4].uid}


def test_no_copies_no_picture_and_no_pictures_no_copies(tmp_path: Path, cluster: str) -> None:
    alone = Picture(url="http://h.test/1", body=jpeg(blotches(1)))
    table, summary = deduplicated([alone], tmp_path / "one")
    assert len(table) == 0 and not summary.pictures and summary.counts["pictures/kept"] == 1
    table, summary = deduplicated([alone], tmp_path / "none", "side>=5000")
    assert len(table) == 0 and summary.counts["pictures/kept"] == 0


def test_what_was_made_of_other_images_is_refused(tmp_path: Path, cluster: str) -> None:
    deduplicated([Picture(url="http://h.test/1", body=jpeg(blotches(1)))], tmp_path / "one")
    deduplicated([Picture(url="http://h.test/2", body=jpeg(blotches(2)))], tmp_path / "two")
    one, two = tmp_path / "one", tmp_path / "two"
    with pytest.raises(UserError, match=r"near: of other pictures than .*one/verdicts; make it of the images"):
        dedup.run(
            images=one / "images",
            near=two / "near",
            verdicts=one / "verdicts",
            scores=(),
            out=one,
            tracker=Silent(),
        )
