"""Select: what is left is the data set; evaluation pictures are not in it, whatever copy they come as."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import hash, matches, select
from jobs.semantic import SEMANTIC
from tests.jobs.pictures import Picture, stored, write_images
from tests.jobs.test_dedup import deduplicated
from tests.vlp_core.curation.drawings import altered, blotches, jpeg
from vlp_core.curation.selection import selection_digest
from vlp_core.curation.settings import Near, Select
from vlp_core.data.layout import SELECTION
from vlp_core.data.samples import Samples
from vlp_core.errors import UserError
from vlp_core.identity import uid_of
from vlp_core.tracker import Silent, Summary


def url(name: str) -> str:
    return f"http://h.test/{name}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cluster: str) -> Path:
    """Training pictures (one filtered, some copies) and an evaluation set that has some of them."""
    folder = tmp_path_factory.mktemp("data")
    bodies = {
        "plain": jpeg(blotches(0)),
        "leaked": jpeg(blotches(1)),
        "leaked_near": altered(blotches(2), "recompressed"),
        "kept_of_leak": jpeg(blotches(3)),  # the evaluation has what it absorbs
        "absorbed_leak": altered(blotches(3), "cropped"),
        "tiny": jpeg(blotches(4, width=60, height=50)),
        "twin": jpeg(blotches(5)),
        "twin_copy": jpeg(blotches(5)),
    }
    pictures = [Picture(url=url(name), body=body, captions=[f"a caption of {name}"]) for name, body in bodies.items()]
    deduplicated(pictures, folder, "side>=100")
    evaluated = [jpeg(blotches(1)), jpeg(blotches(2)), bodies["absorbed_leak"], jpeg(blotches(9))]
    images = write_images(
        folder / "evaluation", [Picture(url=url(f"eval{i}"), body=body) for i, body in enumerate(evaluated)]
    )
    (folder / "evaluation_hashes").mkdir()
    hash.run(images=images, out=folder / "evaluation_hashes", tracker=Silent())
    matched(folder, folder / "evaluation_hashes", folder / "matches")
    return folder


def matched(folder: Path, others: Path, out: Path, near: Near | None = None) -> Path:
    """What the pictures of a folder have in common with a set named 'eval'."""
    out.mkdir(parents=True)
    matches.run(hashes=folder / "hashes", others=others, name="eval", near=near or Near(), out=out, tracker=Silent())
    return out


def selected(
    folder: Path,
    out: Path,
    evaluations: tuple[Path, ...] | None = None,
    against: tuple[Path, ...] = (),
    semantic: Path | None = None,
    **settings: object,
) -> tuple[list[str], Summary]:
    out.mkdir(parents=True, exist_ok=True)
    summary = select.run(
        verdicts=folder / "verdicts",
        copies=folder / "copies",
        hashes=folder / "hashes",
        evaluations=(folder / "matches",) if evaluations is None else evaluations,
        against=against,
        semantic=semantic,
        select=Select(**settings),  # type: ignore[arg-type]
        out=out,
        tracker=Silent(),
    )
    return pq.read_table(out / "selection.parquet")["uid"].to_pylist(), summary


def uids(*names: str) -> list[str]:
    return sorted(uid_of(url(name)) for name in names)


def test_evaluation_pictures_and_the_clusters_they_are_in_are_taken_out(folder: Path, tmp_path: Path) -> None:
    found, summary = selected(folder, tmp_path)
    assert found == uids("plain", "twin")
    removed = {
        row["uid"]: (row["other_uid"], row["reason"]) for row in pq.read_table(tmp_path / "removed.parquet").to_pylist()
    }
    assert removed == {
        uid_of(url("leaked")): (uid_of(url("eval0")), "exact"),
        uid_of(url("leaked_near")): (uid_of(url("eval1")), "near"),
        uid_of(url("kept_of_leak")): (uid_of(url("eval2")), "exact"),
    }
    assert set(pq.read_table(tmp_path / "removed.parquet")["against"].to_pylist()) == {"eval"}
    assert summary.counts == {
        "pictures/selected": 2,
        "captions/selected": 3,
        "removed/rules": 1,
        "removed/copies": 2,
        "removed/evaluation": 3,
        "removed/at_most": 0,
    }


def test_what_shows_the_same_as_another_goes_and_is_counted_where_nothing_else_took_it(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "semantic").mkdir()
    gone = [uid_of(url(name)) for name in ("plain", "leaked")]
    table = pa.table([gone, [uid_of(url("twin"))] * 2, [0, 1], [6, 6]], schema=SEMANTIC)
    pq.write_table(table, tmp_path / "semantic" / "00000.parquet")
    found, summary = selected(folder, tmp_path / "out", semantic=tmp_path / "semantic")
    assert found == uids("twin") and summary.counts["removed/semantic"] == 1


def test_a_picture_goes_with_the_copy_it_stands_for_where_it_is_not_itself_near(folder: Path, tmp_path: Path) -> None:
    """By bytes alone: the evaluation has what was absorbed, not what stays."""
    by_bytes = matched(folder, folder / "evaluation_hashes", tmp_path / "exact", Near(bits=0, colour=0, alike=1))
    found, _ = selected(folder, tmp_path, evaluations=(by_bytes,))
    assert found == uids("plain", "leaked_near", "twin")


def test_pictures_of_other_data_sets_go_whether_or_not_those_of_evaluation_sets_do(
    folder: Path, tmp_path: Path
) -> None:
    everything, summary = selected(folder, tmp_path / "all", evaluations=(), against=(folder / "matches",))
    assert everything == uids("plain", "twin") and summary.counts["removed/evaluation"] == 3


def test_what_is_left_is_balanced_with_the_captions_of_copies_and_then_cut(folder: Path, tmp_path: Path) -> None:
    """The twin that stays has matches by the caption of the other alone."""
    (tmp_path / "entries.txt").write_text("twin_copy\n")
    found, summary = selected(folder, tmp_path / "out", balance=tmp_path / "entries.txt", at_most=1)
    assert found == uids("twin") and summary.counts["removed/balance"] == 1
    table = pq.read_table(tmp_path / "out" / "selection.parquet")
    assert table["captions"].to_pylist() == [["a caption of twin_copy"]] and table.schema == SELECTION


def test_decontamination_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    found, _ = selected(folder, tmp_path, evaluations=())
    assert found == uids("plain", "leaked", "leaked_near", "kept_of_leak", "twin")
    assert pq.read_metadata(tmp_path / "removed.parquet").num_rows == 0


def test_the_table_and_its_digest(folder: Path, tmp_path: Path) -> None:
    selected(folder, tmp_path / "one")
    selected(folder, tmp_path / "two")
    table = pq.read_table(tmp_path / "one" / "selection.parquet")
    assert table.schema.equals(SELECTION) and set(table["weight"].to_pylist()) == {1.0}
    twin = next(row for row in table.to_pylist() if row["uid"] == uid_of(url("twin")))
    assert twin["captions"] == ["a caption of twin", "a caption of twin_copy"]
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["removed.parquet", "selection.json", "selection.parquet"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)
    summary = json.loads((tmp_path / "one" / "selection.json").read_text())
    assert summary["digest"] == selection_digest(table) and (summary["rows"], summary["captions"]) == (2, 3)


def test_the_digest_is_of_the_rows_not_of_how_they_are_stored(folder: Path, tmp_path: Path) -> None:
    selected(folder, tmp_path)
    table = pq.read_table(tmp_path / "selection.parquet")
    digest = selection_digest(table)
    pq.write_table(table.take([1, 0]), tmp_path / "again.parquet", compression="none", row_group_size=1)
    assert selection_digest(pq.read_table(tmp_path / "again.parquet")) == digest
    assert selection_digest(table.slice(1)) != digest
    assert selection_digest(table.set_column(1, "weight", [[0.5, 1.0]])) != digest


def test_at_most_takes_the_first_in_a_seeded_order_that_more_rows_do_not_change(folder: Path, tmp_path: Path) -> None:
    two, summary = selected(folder, tmp_path / "two", evaluations=(), at_most=2)
    three, _ = selected(folder, tmp_path / "three", evaluations=(), at_most=3)
    assert len(two) == 2 and len(three) == 3 and set(two) < set(three)
    assert summary.counts["removed/at_most"] == 3
    others = {
        tuple(selected(folder, tmp_path / str(seed), evaluations=(), at_most=2, seed=seed)[0]) for seed in range(6)
    }
    assert len(others) > 1


def test_a_url_that_a_folder_holds_twice_is_selected_once(folder: Path, tmp_path: Path, cluster: str) -> None:
    """As in folders that img2dataset wrote from lists which repeat urls, whether its answer was the same or not."""
    pictures = [
        Picture(url=url("same"), body=jpeg(blotches(1)), captions=["first"]),
        Picture(url=url("same"), body=jpeg(blotches(1)), captions=["second"]),
        Picture(url=url("changed"), body=jpeg(blotches(2)), captions=["before"]),
        Picture(url=url("changed"), body=jpeg(blotches(3, width=600, height=450)), captions=["after"]),
    ]
    deduplicated(pictures, tmp_path)
    found, summary = selected(tmp_path, tmp_path / "out", evaluations=())
    assert (found, summary.counts["removed/copies"]) == (uids("same", "changed"), 2)
    samples = Samples.open(tmp_path / "images", tmp_path / "out")
    captions = {samples.uid(row): samples.captions(row) for row in range(len(samples))}
    assert captions == {uid_of(url("same")): ["first", "second"], uid_of(url("changed")): ["after", "before"]}
    larger = samples.uids.index(uid_of(url("changed"))).as_py()
    assert pictures[3].body and samples.image_bytes(larger) == stored(pictures[3].body, 64)


def test_an_empty_selection_says_what_took_the_rows(tmp_path: Path, folder: Path, cluster: str) -> None:
    deduplicated([Picture(url=url("tiny"), body=jpeg(blotches(1)))], tmp_path, "side>=5000")
    with pytest.raises(UserError, match=r"rules took 1, copies 0, evaluation sets and --dedup\.against 0"):
        selected(tmp_path, tmp_path / "out", evaluations=())
    assert not list((tmp_path / "out").iterdir())


def test_hashes_of_other_images_are_refused(folder: Path, tmp_path: Path, cluster: str) -> None:
    deduplicated([Picture(url=url("other"), body=jpeg(blotches(1)))], tmp_path)
    with pytest.raises(UserError, match=rf"matches: of other pictures than {tmp_path}/verdicts"):
        selected(tmp_path, tmp_path, evaluations=(folder / "matches",))
    with pytest.raises(UserError, match=rf"hashes: of other pictures than {tmp_path}/verdicts; make it of the images"):
        select.run(
            verdicts=tmp_path / "verdicts",
            copies=tmp_path / "copies",
            hashes=folder / "hashes",
            evaluations=(),
            select=Select(),
            out=tmp_path,
            tracker=Silent(),
        )


def test_a_set_of_the_very_pictures_is_refused(folder: Path, tmp_path: Path) -> None:
    """Nothing would be left."""
    with pytest.raises(UserError, match="eval: has the very pictures of this run, all of which would go; leave it out"):
        matched(folder, folder / "hashes", tmp_path / "matches")


def test_each_of_those_that_look_the_same_is_matched(tmp_path: Path, cluster: str) -> None:
    """Rules may leave any one of them."""
    body = jpeg(blotches(1))
    for name, bodies in (("", [body, body + b"\0"]), ("eval", [altered(blotches(1), "recompressed")])):
        pictures = [Picture(url=url(f"{name}{number}"), body=body) for number, body in enumerate(bodies)]
        images = write_images(tmp_path / f"{name}images", pictures)
        (tmp_path / f"{name}hashes").mkdir()
        hash.run(images=images, out=tmp_path / f"{name}hashes", tracker=Silent())
    found = matched(tmp_path, tmp_path / "evalhashes", tmp_path / "matches")
    table = pq.read_table(found / matches.MATCHES_FILE).select(["row", "other_uid", "reason"])
    assert table.to_pylist() == [{"row": row, "other_uid": uid_of(url("eval0")), "reason": "near"} for row in (0, 1)]


def test_at_most_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="at most 0"):
        Select(at_most=0)
