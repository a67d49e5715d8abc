"""A link that showed a picture which is taken down, and shows another now: what was made of that one stays."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import capfilt, dedup, filter, hash, matches, measure, near, select
from pipelines import takedown
from tests.jobs import refreshing
from tests.jobs.refreshing import HOST, changes_of, ledger_of, quarantine_of, recompressed, rows_of
from tests.pipelines.purging import Purged, World, captioned, check_records, contents_of, traces
from tests.pipelines.records import recorded
from tests.vlp_core.web.site import picture
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.settings import Filter, Near, Select
from vlp_core.data.layout import SELECTION_FILE
from vlp_core.data.purged import purged_pictures
from vlp_core.data.releases import Release, read
from vlp_core.data.samples import Samples
from vlp_core.identity import sha256_of, uid_of

pytestmark = pytest.mark.usefixtures("cluster")
LINK = "0.jpg"
SHOWN_TO_THEM, SHOWN_FIRST, OTHER = (picture(80, 60, seed=seed) for seed in (50, 0, 98))
RULES = Filter(rules=("words>1",))
FURTHER = ("image", "outcome", "change", "before_file")
"""Columns that a list may have and other tables do have."""


def listed(world: World, *paths: str, **how: Any) -> Release:
    columns = {name: [f"{name} of {path}" for path in paths] for name in FURTHER}
    return world.refresh({path: f"caption of {path}" for path in paths}, columns=columns, **how)


@pytest.fixture
def data(tmp_path: Path) -> Purged:
    """theirs@1 and photos@1 have LINK with other pictures than photos@2 has, of which all else is made."""
    world = World(tmp_path)
    found = Purged(world, {})
    with world.site:
        world.pictures(*range(6))
        world.says |= {LINK: SHOWN_TO_THEM, "4.jpg": recompressed(SHOWN_TO_THEM)}
        world.says["5.jpg"] = world.says["2.jpg"]
        listed(world, LINK, "5.jpg", into="theirs")
        world.says[LINK] = SHOWN_FIRST
        listed(world, LINK, "1.jpg", "2.jpg", "3.jpg")
        world.says[LINK] = recompressed(SHOWN_FIRST)
        listed(world, LINK, "1.jpg", "2.jpg", "4.jpg", days=100)
    for name in ("theirs-1", "photos-2", "photos-3"):
        found.refreshed(name)
    run, told = found.run, found.told
    first = found.adopted("adopt-first", read(world.root, "photos", 1).path)
    images = found.adopted("adopt", read(world.root, "photos", 2).path)
    watched = run("hash-theirs", hash, images=found.adopted("adopt-theirs", read(world.root, "theirs", 1).path))
    hashes = run("hash", hash, images=images)
    like = run("near", near, hashes=hashes, near=Near())
    seen = run("matches-theirs", matches, hashes=hashes, others=watched, name="theirs", near=Near())
    cheap = [name for name, judge in JUDGES.items() if not judge.costly]
    columns = run("measure", measure, images=images, judges=measure.versions(cheap))
    verdicts = run("filter", filter, images=images, columns=(columns,), filter=RULES)
    copies = run("dedup", dedup, images=images, near=like, verdicts=verdicts, scores=())
    chosen = {"verdicts": verdicts, "copies": copies, "hashes": hashes}
    selection = run("select", select, **chosen, evaluations=(seen,), select=Select())
    model = told("train", {}, images=first)
    written = told("captions", {"00000": captioned(selection)}, model=model, images=images, selection=selection)
    run("capfilt", capfilt, images=images, selection=selection, captions=written, threshold=0.5)
    return found


def take_down(data: Purged, *bodies: bytes) -> None:
    assert takedown.main([*map(sha256_of, bodies), "--purge", "--root", str(data.root)]) == 0


def test_what_was_made_of_its_present_picture_alone_stays_as_it_is(data: Purged) -> None:
    """Rows and places go with the pictures that they are of, and matches with the evaluation picture that they name,
    also below a model that has seen the old one."""
    stay = ("adopt", "hash", "near", "measure", "filter", "dedup", "captions", "capfilt")
    before = {name: contents_of(data.folders[name]) for name in stay}
    selection, found = data.folders["select"], data.folders["matches-theirs"]
    rows, chosen = pq.read_table(found / "matches.parquet").to_pylist(), (selection / SELECTION_FILE).read_bytes()
    removed = pq.read_table(selection / "removed.parquet").to_pylist()
    mine = uid_of(f"{HOST}/{LINK}")
    assert (
        {row["other_uid"] for row in rows} == {row["other_uid"] for row in removed} == {mine, uid_of(f"{HOST}/5.jpg")}
    )
    old = [Samples.open(data.folders[name]) for name in ("adopt-first", "adopt-theirs")]
    bodies = [some.image_bytes([some.uid(i) for i in range(len(some))].index(mine)) for some in old]
    take_down(data, SHOWN_FIRST, SHOWN_TO_THEM)
    assert not traces(data.root, *bodies)
    assert {name: contents_of(data.folders[name]) for name in stay} == before
    assert pq.read_table(found / "matches.parquet").to_pylist() == [r for r in rows if r["other_uid"] != mine]
    assert (found / "pictures.json").read_text() == (data.folders["near"] / "pictures.json").read_text()
    assert (selection / SELECTION_FILE).read_bytes() == chosen and purged_pictures(selection) == []
    assert pq.read_table(selection / "removed.parquet").to_pylist() == [r for r in removed if r["other_uid"] != mine]
    assert mine not in pq.read_table(data.folders["hash-theirs"] / "00000.parquet")["uid"].to_pylist()
    assert rows_of(read(data.root, "photos", 2))[LINK]["status"] == "success" and check_records(data.root)


def test_other_rules_select_of_what_is_left(data: Purged) -> None:
    """All that other rules do not change fits together still."""
    of = data.folders
    take_down(data, SHOWN_FIRST)
    images, rules = of["adopt"], Filter(rules=("words>2",))
    verdicts = data.run("filter-other", filter, images=images, columns=(of["measure"],), filter=rules)
    copies = data.run("dedup-other", dedup, images=images, near=of["near"], verdicts=verdicts, scores=())
    chosen = {"verdicts": verdicts, "copies": copies, "hashes": of["hash"]}
    selection = data.run("select-other", select, **chosen, evaluations=(of["matches-theirs"],), select=Select())
    assert (selection / SELECTION_FILE).read_bytes() == (of["select"] / SELECTION_FILE).read_bytes()
    assert uid_of(f"{HOST}/{LINK}") in pq.read_table(selection / SELECTION_FILE)["uid"].to_pylist()


def test_a_refresh_that_was_begun_keeps_what_it_knows_of_the_present_picture(
    data: Purged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be asked stands already, with what it is to be compared with; then the earlier picture is purged."""
    world, fetch = data.world, refreshing.fetched
    before = ledger_of(read(world.root, "photos", 2))[LINK]

    def fetched(asked: Path, *words: Any) -> Path:
        recorded(asked, pairs=recorded(world.root / "ingest" / asked.name))
        take_down(data, SHOWN_FIRST)
        return fetch(asked, *words)

    monkeypatch.setattr(refreshing, "fetched", fetched)
    with world.site:
        third = listed(world, LINK, "1.jpg", "2.jpg", "4.jpg", days=200)
    assert rows_of(third)[LINK]["status"] == "success" and changes_of(third) == {}
    known = ledger_of(third)[LINK]
    assert (known["outcome"], known["attempts"]) == ("unchanged", before["attempts"] + 1)
    assert known["sha256"] == before["sha256"] == sha256_of(recompressed(SHOWN_FIRST))


@pytest.mark.parametrize("left", ["here", "with them", "nowhere"])
def test_lists_keep_a_link_as_long_as_something_shows_another_picture_of_it(data: Purged, left: str) -> None:
    """With its captions, which the next release takes from there."""
    lists = data.root / "ingest"
    before = contents_of(lists)
    gone = {"here": [SHOWN_TO_THEM, SHOWN_FIRST], "with them": [SHOWN_FIRST, recompressed(SHOWN_FIRST)]}
    take_down(data, *gone.get(left, [SHOWN_TO_THEM, SHOWN_FIRST, recompressed(SHOWN_FIRST)]))
    assert (contents_of(lists) == before) == (left != "nowhere")
    if left == "nowhere":
        words = [f"{HOST}/{LINK}", *(f"{name} of {LINK}" for name in ("caption", *FURTHER))]
        assert not traces(data.root, *(word.encode() for word in words))


@pytest.mark.parametrize("purge", [(), ("--purge",)], ids=["taken down", "purged"])
@pytest.mark.parametrize(
    ("then", "waits"),
    [(None, (True, True)), (404, (True, True)), (OTHER, (True, False)), (recompressed(SHOWN_FIRST), (False, False))],
    ids=["the same", "nothing", "another", "one like that before"],
)
def test_a_picture_that_waits_goes_on_waiting_without_the_one_that_was_there_before(
    tmp_path: Path, then: bytes | int | None, waits: tuple[bool, bool], purge: tuple[str, ...]
) -> None:
    """Whatever its link shows the next time. A further picture is taken where there is nothing to compare it with, and
    hidden where it looks like what is taken down."""
    world, waiting = World(tmp_path), picture(80, 60, seed=99)
    found = Purged(world, {})
    with world.site:
        world.pictures(0, 1)
        listed(world, LINK, "1.jpg")
        world.says[LINK] = waiting
        second = listed(world, LINK, "1.jpg", days=100)
        for name in ("photos-1", "photos-2"):
            found.refreshed(name)
        assert takedown.main([sha256_of(SHOWN_FIRST), *purge, "--root", str(world.root)]) == 0
        row = quarantine_of(second)[LINK]
        assert row["sha256"] == sha256_of(waiting) and rows_of(second)[LINK]["status"] == "quarantined"
        before = {value for name, value in row.items() if name.startswith("before_")}
        assert (before == {None}) == bool(purge) and check_records(world.root)
        world.says[LINK] = waiting if then is None else then
        third = listed(world, LINK, "1.jpg", days=200)
        still = waits[bool(purge)]
        assert (LINK in quarantine_of(third)) == still
        fourth = listed(world, LINK, "1.jpg", let_in=(f"{HOST}/{LINK}",) if still else ())
    shown = sha256_of(then if isinstance(then, bytes) else waiting)
    assert rows_of(fourth)[LINK]["sha256"] == (shown if still or purge else None)
