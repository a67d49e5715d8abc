"""What a kill left half written is purged too, and what goes on there afterwards comes out as if it were made anew."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import download
from jobs import shard as rewrite
from jobs.journal import Journal, Outcome
from pipelines import takedown
from tests.jobs.downloading import answer, body_of, contents, fetched, killed_publishing, names, settings, write_pairs
from tests.jobs.pictures import Picture, write_images
from tests.pipelines.purging import traces
from tests.pipelines.records import recorded
from tests.vlp_core.data.folders import write_selection
from tests.vlp_core.web.site import Site, picture
from vlp_core.data.index import Reader
from vlp_core.data.settings import Shard
from vlp_core.data.stored import index_shard
from vlp_core.identity import sha256_of, uid_of
from vlp_core.tracker import Silent

LINK = "http://pictures.test/1.jpg"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(answer) as site:
        yield site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for step in ("ingest", "download", "shard"):
        (tmp_path / "root" / step).mkdir(parents=True)
    return tmp_path / "root"


def stored(folder: Path, uid: str) -> bytes:
    file, index = index_shard(folder, "00000")
    (row,) = (row for row in index.to_pylist() if row["uid"] == uid)
    return Reader().read(file, row["offset"], row["length"])


@pytest.mark.parametrize(
    ("files", "named"),
    [(0, LINK), (1, LINK), (1, sha256_of(body_of("1.jpg"))), (3, LINK)],
    ids=["none", "tar", "tar, by sha256", "all but the rows"],
)
def test_a_shard_that_was_being_published_is_made_of_what_is_left(
    site: Site, root: Path, tmp_path: Path, files: int, named: str
) -> None:
    """The tar lies where it is written, or where it belongs, and no rows say yet what is in it."""
    pairs, out = write_pairs(root / "ingest" / "0", names(range(4))), root / "download" / "0.partial"
    recorded(pairs)
    jpeg = stored(fetched(pairs, tmp_path / "whole", settings(site)), uid_of(LINK))
    killed_publishing(pairs, out, settings(site), files)
    tar = out / "00000.tar" if files else out / "_work" / "00000" / "00000.tar"
    assert str(tar.relative_to(root)) in traces(root, jpeg)
    assert takedown.main([named, "--anyway", "--purge", "--root", str(root)]) == 0
    assert not traces(root, jpeg, LINK.encode(), sha256_of(body_of("1.jpg")).encode())
    site.seen.clear()
    assert download.run(pairs=pairs, fetch=settings(site), out=out, tracker=Silent()).counts["success"] == 3
    assert not site.seen
    download.run(pairs=pairs, fetch=settings(site), out=tmp_path / "anew", tracker=Silent())
    made = {name: body for name, body in contents(out).items() if not name.startswith("_")}
    assert made == contents(tmp_path / "anew")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("left", ["killed", "damaged"])
@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_shards_that_were_being_rewritten_are_cut_of_what_is_left(
    root: Path, tmp_path: Path, format: str, left: str
) -> None:
    """By a run that was killed, or since one of them was damaged. Those before the half one are whole, but others fall
    to them now."""
    pictures = [Picture(url=f"http://pictures.test/{n}.jpg", body=picture(seed=n)) for n in range(9)]
    images = write_images(root / "download" / "0", pictures)
    whose = {"images": recorded(images)}
    selection = root / "select" / "0"
    write_selection(selection, [each.uid for each in pictures])
    whose["selection"] = recorded(selection, **whose)
    out = root / "shard" / ("0.partial" if left == "killed" else "0")

    def run(out: Path) -> dict[str, bytes]:
        out.mkdir(exist_ok=True)
        inputs = {"images": images, "selection": selection, "shard": Shard(format=format, size=3)}
        rewrite.run(**inputs, out=out, tracker=Silent())
        return {name: body for name, body in contents(out).items() if not name.startswith("_")}

    run(out)
    suffix = "tar" if format == "webdataset" else "images.parquet"
    if left == "killed":
        for name in ("00002.parquet", "00002_stats.json", "00002_index.parquet", "manifest.json", "_seals/00002.json"):
            (out / name).unlink()
    else:
        recorded(out, **whose)
    gone = [pictures[number] for number in (1, 7)]
    bodies = [each.body for each in gone if each.body is not None]
    assert f"shard/{out.name}/00002.{suffix}" in traces(root, bodies[1])
    assert takedown.main([*(each.url for each in gone), "--purge", "--root", str(root)]) == 0
    assert not traces(root, *bodies)
    if left == "damaged":
        (out / f"00002.{suffix}").unlink()
    assert run(out) == run(tmp_path / "anew")
    assert [shard["count"] for shard in json.loads((out / "manifest.json").read_text())["shards"]] == [2, 3, 2]


@pytest.mark.parametrize(("left", "missing"), [("cut", [False, False, True]), ("removed", [True, True, True])])
def test_a_picture_whose_answer_is_lost_goes_and_others_stay(root: Path, left: str, missing: list[bool]) -> None:
    """It was written before the line that says whose it is, and is removed after it: nobody would find it any more."""
    recorded(write_pairs(root / "ingest" / "0", names(range(3))))
    work, bodies = root / "download" / "0.partial" / "_work" / "00000", [picture(seed=seed) for seed in range(3)]
    uids = [uid_of(f"http://pictures.test/{path}") for path in names((0, 2, 1))]
    with Journal(work) as journal:
        for row, (uid, body) in enumerate(zip(uids, bodies, strict=True)):
            known = Outcome(status="success", attempts=1, asked=0, sha256=sha256_of(body), final_url=LINK * (row == 2))
            journal.put(row, uid, known, body)
    log = work / "journal"
    log.write_bytes(log.read_bytes()[:-3])
    if left == "removed":
        log.unlink()
    assert takedown.main([LINK, "--purge", "--root", str(root)]) == 0
    assert not traces(root, bodies[2], LINK.encode())
    with Journal(work) as journal:
        assert [found is None for found in journal.known(uids, check=True)] == missing


@pytest.mark.parametrize(("step", "stays"), [("score", True), ("neighbours", False), ("prompts", False)])
def test_work_that_counts_by_places_begins_anew(root: Path, step: str, stays: bool) -> None:
    """It does not say which pictures are in it, and those that are left have other places."""
    recorded(write_pairs(root / "ingest" / "0", names(range(3))))
    begun = root / step / "0.partial"
    begun.mkdir(parents=True)
    assert takedown.main([LINK, "--purge", "--root", str(root)]) == 0
    assert begun.exists() == stays
