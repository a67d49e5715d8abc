"""What was taken down leaves every result of a root, byte for byte, and all else is as good as before."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from jobs import adopt, capfilt, changes, dedup, filter, near, neighbours, report, select
from jobs.changes import digest_of_list
from jobs.journal import Journal, Outcome
from jobs.purge_pages import blank_drawing
from pipelines import takedown
from pipelines.forecasting.settings import FOLDER as FORECAST
from pipelines.series import Series
from pipelines.workflow.data_sets import left_in
from pipelines.workflow.open_runs import hold
from pipelines.workflow.purging import check_no_purge
from pipelines.workflow.record import Record, bad_files
from tests.forks import each_write, killed
from tests.jobs.refreshing import HOST, contents, rows_of
from tests.pipelines.purging import COPY, SEMANTIC, Purged, check_records, contents_of, made, traces
from tests.pipelines.records import recorded
from tests.vlp_core.web.site import picture
from vlp_core.curation.settings import Filter, Near, Select
from vlp_core.data.index import Reader
from vlp_core.data.layout import SELECTION_FILE
from vlp_core.data.parts import digest, parts_of
from vlp_core.data.releases import Next, data_set_of, read, read_info
from vlp_core.data.stored import index_shard
from vlp_core.data.tombstones import read_tombstones
from vlp_core.errors import UserError
from vlp_core.evals.names import QUERIES
from vlp_core.identity import sha256_of, uid_of
from vlp_core.metric_names import DATASET_DIGEST_CHARS
from vlp_core.report.settings import Report
from vlp_core.tracker import Silent

pytestmark = pytest.mark.usefixtures("cluster")
FIRST = "00000"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, cluster: str) -> Purged:
    folder = tmp_path_factory.mktemp("purged") / "work"
    folder.mkdir()
    found = made(folder)
    shutil.copytree(folder, folder.with_name("kept"))
    return found


@pytest.fixture
def data(pristine: Purged) -> Iterator[Purged]:
    copied(pristine)
    yield pristine


def copied(pristine: Purged) -> None:
    """Where it was made: releases know their tars by absolute paths."""
    folder = pristine.world.folder
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("kept"), folder)


def stored(data: Purged, path: str) -> bytes:
    """A picture as it lies in the first download."""
    folder, uid = data.root / "download" / "photos-1", uid_of(f"{HOST}/{path}")
    for name in (FIRST, "00001"):
        file, index = index_shard(folder, name)
        for row in index.to_pylist():
            if row["uid"] == uid:
                return Reader().read(file, row["offset"], row["length"])
    raise AssertionError(path)


def run(data: Purged, *words: str) -> int:
    return takedown.main([*words, "--root", str(data.root)])


@pytest.mark.parametrize("named", ["url", "body", "stored"])
def test_nothing_of_it_is_left_anywhere_and_what_is_left_is_trusted(
    data: Purged, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a url its link alone goes; by the sha256 of the body, or of the picture as it is stored, every link to it."""
    jpeg, body = stored(data, "0.jpg"), data.world.says["0.jpg"]
    assert isinstance(body, bytes)
    words = {"url": "HTTP://Pictures.TEST:80/1.jpg#top", "body": sha256_of(body), "stored": sha256_of(jpeg)}
    if named == "url":
        jpeg = stored(data, "1.jpg")
    gone = ["1.jpg"] if named == "url" else ["0.jpg", COPY]
    captions = [f"caption of {path[0]}".encode() for path in gone]
    addresses = [f"{HOST}/{path}".encode() for path in gone]
    before = traces(data.root, jpeg)
    assert {f"download/photos-1/{FIRST}.tar", "shard-webdataset/0/00000.tar"} & before
    parts = digest(parts_of(str(read(data.root, "photos", 1).path)))
    listed, records = digest_of_list(data.root / "ingest/photos-2"), check_records(data.root)
    content = {path: Record.read(path.parent).content for path in data.root.glob("*/*/_RECORD.json")}  # type: ignore[union-attr]
    grid = sha256_of((data.folders["dedup"] / "copies.png").read_bytes())
    sizes = {path: path.stat().st_size for path in data.root.rglob("*.tar")}

    assert run(data, words[named]) == 0 and traces(data.root, jpeg) == before
    said = capsys.readouterr().out
    assert f"photos@1: {len(gone)} pictures, of which the next release has none" in said
    assert run(data, "--purge") == 0
    assert not traces(data.root, jpeg, *captions, *addresses), "left behind"
    assert check_records(data.root) == records
    assert {path: Record.read(path.parent).content for path in content} == content, "what stands on it runs anew"  # type: ignore[union-attr]
    assert {path: path.stat().st_size for path in sizes} == sizes
    assert digest(parts_of(str(read(data.root, "photos", 1).path))) == parts, "its pipelines run anew"
    assert digest_of_list(data.root / "ingest/photos-2") == listed
    left = {f"{number}.jpg" for number in range(8)} - set(gone)
    release = read(data.root, "photos", 1)
    assert contents(release).keys() == left and rows_of(release).keys() - left == {"taken-down:"}
    assert all(sha256_of(stored(data, path)) == contents(release)[path][0] for path in left)
    page = (data.folders["report"] / "report.html").read_text()
    assert "data-uid" in page and not any(uid_of(f"{HOST}/{path}") in page for path in gone)
    assert (sha256_of((data.folders["dedup"] / "copies.png").read_bytes()) == grid) == (named == "url")
    drawings = {"capfilt": capfilt.PICTURE, "evaluate-shown": QUERIES, "evaluate-trained": QUERIES}
    drawn = [(data.folders[name] / file).read_bytes() for name, file in drawings.items()]
    assert [body == blank_drawing() for body in drawn] == [True, True, False]
    (audited,) = [json.loads(line) for line in (data.root / "purges.jsonl").read_text().splitlines()]
    assert (audited["links"], audited["pictures"]) == (len(gone), 1) and audited["results"]["release/photos-1"]
    assert run(data, "--purge") == 0 and "nothing to purge" in capsys.readouterr().out.splitlines()[-1]


def test_stages_go_on_with_what_is_left_as_with_what_they_made_of_it_themselves(data: Purged, tmp_path: Path) -> None:
    """Places among the pictures have moved up: what counts by them comes out as if it were made of the rest."""
    assert run(data, f"{HOST}/0.jpg", f"{HOST}/2.jpg") == 0 and run(data, "--purge") == 0
    of, silent = data.folders, Silent()
    images, columns, hashes = of["adopt"], (of["measure"],), of["hash"]

    def again(name: str, stage: Any, **inputs: Any) -> Path:
        out = tmp_path / name
        out.mkdir()
        stage.run(**inputs, out=out, tracker=silent)
        return out

    def tables(folder: Path) -> dict[str, list[Any]]:
        return {path.name: pq.read_table(path).to_pylist() for path in folder.glob("[!_]*.parquet")}

    alike = again("near", near, hashes=hashes, near=Near())
    assert tables(alike) == tables(of["near"]) and len(tables(alike)["groups.parquet"]) == 6
    motifs = again("neighbours", neighbours, scores=of["score"], semantic=SEMANTIC)
    assert tables(motifs) == tables(of["neighbours"]) and tables(motifs)["00000.parquet"]
    for name, made_again in (("near", alike), ("neighbours", motifs)):
        assert (made_again / "pictures.json").read_text() == (of[name] / "pictures.json").read_text()
    verdicts = again("filter", filter, images=images, columns=columns, filter=Filter(rules=("words>1",)))
    assert tables(verdicts) == tables(of["filter"])
    copies = again("dedup", dedup, images=images, near=of["near"], verdicts=of["filter"], scores=())
    assert tables(copies) == tables(of["dedup"])
    watched = (of["matches-others"],)
    chosen = {"verdicts": of["filter"], "copies": of["dedup"], "hashes": hashes}
    selection = again("select", select, **chosen, evaluations=(), select=Select())
    uids = pq.read_table(selection / SELECTION_FILE)["uid"].to_pylist()
    assert uids == pq.read_table(of["select"] / SELECTION_FILE)["uid"].to_pylist() and len(uids) == 6
    places = pq.read_table(watched[0] / "matches.parquet")["row"].to_pylist()
    assert places == list(range(6))
    shown = {"images": images, "columns": columns, "verdicts": verdicts, "copies": copies, "selection": selection}
    page = (again("report", report, **shown, report=Report()) / "report.html").read_text()
    assert page.count("<img") and "taken down" in page
    for kind in ("webdataset", "parquet"):
        shards = of[f"shard-{kind}"]
        manifest = json.loads((shards / "manifest.json").read_text())["shards"]
        assert sum(entry["count"] for entry in manifest) == 6
        for entry in manifest:
            assert entry["sha256"] == sha256_of((shards / entry["name"]).read_bytes())
            file, index = index_shard(shards, entry["name"].partition(".")[0])
            read_back = [Reader().read(file, row["offset"], row["length"]) for row in index.to_pylist()]
            assert all(body.startswith(b"\xff\xd8") for body in read_back) and len(read_back) == entry["count"]
    tars = sorted(str(path) for path in (data.root / "download/photos-1").glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    assert len(samples) == 6 and {sample["txt"] for sample in samples} == {
        f"caption of {n}" for n in (1, 3, 4, 5, 6, 7)
    }


def test_later_releases_go_on_without_it_and_do_not_ask_for_it(data: Purged) -> None:
    """Neither for the link, nor for those that showed the picture; and no second release for the list that was cut."""
    body = data.world.says["0.jpg"]
    assert isinstance(body, bytes)
    assert run(data, f"{HOST}/1.jpg", sha256_of(body)) == 0 and run(data, "--purge") == 0
    rows = {f"{number}.jpg": f"words on {number}" for number in range(10)}
    asked = data.world.asked.copy()
    with data.world.site:
        data.world.pictures(9)
        data.world.turns = 10
        third = data.world.refresh(rows)
        fourth = data.world.refresh(rows, days=100)
    gone = {"0.jpg", "1.jpg", COPY}
    for release in (third, fourth):
        assert contents(release).keys() == rows.keys() - gone
        assert not any(row["captions"] for row in rows_of(release).values() if row["status"] == "taken_down")
    assert (data.world.asked - asked).keys().isdisjoint(gone) and third.number == 3 and fourth.number == 4


TWO = (f"{HOST}/0.jpg", f"{HOST}/3.jpg")


@pytest.fixture(scope="module")
def undisturbed(pristine: Purged) -> tuple[dict[str, bytes], int]:
    """What a takedown of two with its purge leaves, and how many times it writes something."""
    writes: list[int] = []
    copied(pristine)
    with each_write(writes.append):
        assert run(pristine, *TWO, "--purge") == 0
    return contents_of(pristine.root), len(writes)


@pytest.mark.parametrize("part", [0, 0.01, 0.03, 0.1, 0.25, 0.4, 0.6, 0.8, 0.95, 1])
def test_a_takedown_or_its_purge_that_is_killed_anywhere_is_brought_to_its_end(
    data: Purged, part: float, undisturbed: tuple[dict[str, bytes], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same command, to the same bytes as without a kill. Until then no pipeline starts on what is half done."""
    whole, writes = undisturbed
    killed(1 + round(part * (writes - 1)), takedown.main, [*TWO, "--purge", "--root", str(data.root)])
    known = read_tombstones(data.root)["value"].to_pylist()
    planned = (data.root / ".purge" / "plan.json").exists()
    assert known == (list(TWO) if part else []) and (planned or part < 0.1)
    if planned:
        with pytest.raises(UserError, match="pictures are being purged, or were when that was killed"):
            check_no_purge(data.root)
    audit, torn = data.root / "purges.jsonl", '{"id":"0","results":{}'
    if part < 1:
        audit.write_text(torn)  # a long line that another kill cut
    capsys.readouterr()
    assert run(data, *TWO, "--purge") == 0
    assert ("going on with the purge of" in capsys.readouterr().out) == planned
    assert contents_of(data.root) == whole and not list(data.root.rglob(".*.tmp"))
    (line,) = (json.loads(line) for line in audit.read_text().splitlines() if line != torn)
    assert check_records(data.root) and line["links"] == 2


def test_what_was_purged_from_a_list_is_not_asked_when_it_is_refreshed(data: Purged) -> None:
    """The list as ingest made it is used again; what a purge left of a link there is no new one."""
    assert run(data, f"{HOST}/8.jpg", "--purge") == 0
    last = read(data.root, "photos", 1)  # which has never had it
    following = Next(name="photos", number=2, as_of=datetime.now(UTC).isoformat(), before=last.digest, folder=last.path)
    out = data.root / "changes" / "photos-3"
    out.mkdir()
    told = changes.run(
        pairs=data.root / "ingest" / "photos-2",
        next=following,
        recheck_days=90,
        shard_size=4,
        takedowns=data.root / "takedowns.parquet",
        out=out,
        tracker=Silent(),
    )
    assert (told.counts["asked"], told.counts["links/new"], told.counts["links/taken_down"]) == (0, 0, 1)


def test_the_release_after_a_purge_says_how_many_pictures_that_took(data: Purged) -> None:
    """Also where the purge came first, and the release before has them no more."""
    assert run(data, f"{HOST}/1.jpg", "--purge") == 0
    with data.world.site:
        last = data.world.refresh({f"{number}.jpg": f"caption of {number}" for number in range(8)})
    counts = read_info(last.path)["counts"]
    assert (counts["pictures"], counts["taken_down"], counts["removed"]) == (7, 1, 1)
    assert sorted(pq.read_table(last.path / "changes.parquet")["change"].to_pylist()) == ["removed", "taken_down"]


def test_a_release_of_which_pictures_were_purged_is_another_data_set_and_its_card_says_so(data: Purged) -> None:
    """Of whoever reads it from then on, also by what had read it before."""
    release = read(data.root, "photos", 1).path
    card = (release / "card.md").read_text()
    told = [data_set_of(release)]
    for path, gone in (("1.jpg", 1), ("8.jpg", 1), ("2.jpg", 2)):  # it has never had the second
        assert run(data, f"{HOST}/{path}", "--purge") == 0
        found = data_set_of(release)
        assert found is not None and (found["counts"]["pictures"], found["counts"]["purged"]) == (8 - gone, gone)
        assert (
            release / "card.md"
        ).read_text() == f"{card}\n## Purged since\n\n{gone} pictures, which the counts above have still.\n"
        told.append(found)
    digests = [each["digest"] for each in told if each is not None]
    assert digests[1] == digests[2] and len(set(digests)) == 3
    (read_by,) = left_in(data.folders["adopt"])
    assert read_by.dataset.digest == digests[-1][:DATASET_DIGEST_CHARS]


def test_what_a_takedown_would_take_out_is_told_and_nothing_done(
    data: Purged, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, f"{HOST}/1.jpg", "--reason", "a mail") == 0
    before = contents_of(data.root), read_tombstones(data.root).to_pylist()
    capsys.readouterr()
    assert run(data, f"{HOST}/1.jpg", f"{HOST}/2.jpg", "--purge", "--explain") == 0
    said = capsys.readouterr().out
    assert "photos@2: 2 pictures, of which the next release has none" in said and "1 tombstones would be added" in said
    assert "would purge download/photos-1, and what was made of it, of 2 pictures" in said
    assert "would purge 2 links" in said
    assert run(data, "--list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 2 and f"url     {HOST}/1.jpg" in listed[0] and listed[0].endswith(": a mail")
    assert (contents_of(data.root), read_tombstones(data.root).to_pylist()) == before
    nowhere = data.world.folder / "nowhere"
    assert takedown.main([f"{HOST}/1.jpg", "--root", str(nowhere)]) == 2 and not nowhere.exists()
    assert "there is no such folder" in capsys.readouterr().err


def test_while_somebody_works_there_nothing_is_purged(data: Purged, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, f"{HOST}/1.jpg") == 0
    before = contents_of(data.root)
    working = hold(data.root, "token", store="s", experiment="e")
    assert (
        run(data, "--purge") == 2 and "another pipeline works there; purge when it has ended" in capsys.readouterr().err
    )
    with Series(data.root, "photos").alone():
        working.release()
        working.path.unlink()
        assert run(data, "--purge") == 2 and "a refresh of photos works there" in capsys.readouterr().err
    assert {path: body for path, body in contents_of(data.root).items() if path != ".purge.lock"} == before
    assert run(data, "--purge") == 0


def test_files_of_others_are_named_and_left_as_they_are(data: Purged, capsys: pytest.CaptureFixture[str]) -> None:
    outside = data.world.folder / "theirs"
    shutil.copytree(data.root / "download" / "photos-1", outside)
    out = data.root / "adopt" / "theirs"
    out.mkdir()
    sources = (str(outside),)
    listing = digest(parts_of(sources[0]))
    adopt.run(sources=sources, listing=listing, caption_names=("caption",), out=out, tracker=Silent())
    recorded(out, sources=list(sources))
    files = contents_of(outside)
    assert run(data, f"{HOST}/1.jpg", "--purge") == 0
    said = capsys.readouterr().out
    assert "1 of the pictures lie in files that are not of this root" in said and str(outside) in said
    assert contents_of(outside) == files
    rows = pa.concat_tables([pq.read_table(path) for path in out.glob("[0-9]*[0-9].parquet")]).to_pylist()
    assert [row["captions"] for row in rows if row["status"] != "success"] == [[]]


def test_work_that_is_not_whole_is_purged_too(data: Purged) -> None:
    """Answers that a killed download wrote down; work that would begin anew is removed."""
    shard, uids = (
        data.root / "download" / "begun.partial" / "_work" / FIRST,
        [uid_of(f"{HOST}/{n}.jpg") for n in (1, 2, 99)],
    )
    with Journal(shard) as journal:
        for row, uid in enumerate(uids):
            body, shown = picture(seed=row), f"{HOST}/{(1, 2, 1)[row]}.jpg"  # the last one led to the first
            known = {"sha256": sha256_of(body), "final_url": shown}
            journal.put(row, uid, Outcome(status="success", attempts=1, asked=0, **known), body)
    begun = data.root / "select" / "begun.partial"
    begun.mkdir()
    (begun / "x.arrow").write_text("caption of 1")
    (data.root / "hash" / ".0.old").mkdir()
    forecast = data.root / FORECAST / "download" / "0"
    forecast.mkdir(parents=True)
    (forecast / "00000.tar").write_bytes(picture(seed=0))
    assert run(data, f"{HOST}/1.jpg", "--purge") == 0
    spill = (shard / "spill").read_bytes()
    assert [picture(seed=row) in spill for row in range(3)] == [False, True, False] and not begun.exists()
    assert not (data.root / "hash" / ".0.old").exists() and not (data.root / FORECAST).exists()
    with Journal(shard) as journal:
        known = journal.known(uids, check=True)
    assert [found is None for found in known] == [True, False, True], "what is not taken down is asked again"


def test_what_was_damaged_before_stays_known_to_be(data: Purged) -> None:
    tar = next(iter(sorted((data.root / "download" / "photos-1").glob("*.tar"))))
    with tar.open("r+b") as file:
        file.seek(600)
        file.write(b"rot")
    folder = tar.parent
    assert run(data, "pictures.test", "--purge") == 0
    record = Record.read(folder)
    assert record is not None and bad_files(folder, record, whole=True) == [tar.name]
