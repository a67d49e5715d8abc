"""What a selection is worth by the truth."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlp_core.curation.truth import FAULTY, LEAK, Worth, check_truth, read_truth, worth
from vlp_core.errors import UserError
from vlp_core.miniature import web

TRUTH = pa.table(
    {
        "uid": ["g1", "g2", "g3", "c1", "w1", "b1", "l1", "gone"],
        "kind": ["good", "good", "slow", "near", "wrong", "boilerplate", "leak", "good"],
        "original": pa.array([None, None, None, "g1", None, None, "test", None], pa.string()),
    }
)
FETCHED = pa.array(["g1", "g2", "g3", "c1", "w1", "b1", "l1", "new"], pa.large_string())


@pytest.mark.parametrize(
    ("selected", "good", "number"),
    [
        (["g1", "g2", "g3", "w1", "b1", "l1"], 3, 6),
        (["g1", "c1"], 1, 2),  # what is copied counts once
        (["c1", "g2", "new"], 2, 2),  # a copy stands for its original, and of some nothing is known
        (["w1"], 0, 1),
        ([], 0, 0),
    ],
)
def test_good_is_what_is_true_once_and_not_of_the_test(
    selected: list[str], good: int, number: int, tmp_path: Path
) -> None:
    pq.write_table(TRUTH, tmp_path / "truth.parquet")
    found = worth(pa.array(selected, pa.large_string()), read_truth(tmp_path / "truth.parquet", FETCHED))
    assert found == Worth(good=good, selected=number, there=3)


def test_pictures_that_are_all_bad_are_known_and_others_are_not(tmp_path: Path) -> None:
    truth = tmp_path / "truth.parquet"
    pq.write_table(TRUTH, truth)
    bad, other = (pa.array([uid], pa.large_string()) for uid in ("w1", "new"))
    assert worth(bad, read_truth(truth, bad)) == Worth(good=0, selected=1, there=0)
    with pytest.raises(UserError, match=r"--report\.truth .*truth\.parquet: knows none of the 1 rows"):
        read_truth(truth, other)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (None, "no such file"),
        (b"no table", "no Parquet file that can be read"),
        (TRUTH.drop_columns("kind"), "has no column 'kind'"),
        (TRUTH.set_column(2, "original", pa.array([7] * len(TRUTH))), "'original' is int64, not text"),
    ],
    ids=["none", "no table", "a column less", "numbers"],
)
def test_what_is_no_truth_is_told_by_its_columns(table: pa.Table | bytes | None, why: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.parquet"
    if isinstance(table, bytes):
        truth.write_bytes(table)
    elif table is not None:
        pq.write_table(table, truth)
    for read in (check_truth, lambda path: read_truth(path, FETCHED)):
        with pytest.raises(UserError, match=f"^--report.truth .*truth.parquet: {why}; give .* uid, kind, original"):
            read(truth)


def test_worth_is_both_precision_and_recall() -> None:
    found = Worth(good=2, selected=4, there=3)
    assert (found.precision, found.recall, found.f1) == pytest.approx((1 / 2, 2 / 3, 4 / 7))
    assert Worth(good=0, selected=0, there=0).f1 == 0


def test_every_kind_of_the_embedded_corpus_that_can_be_fetched_is_good_or_not() -> None:
    assert set(web.KINDS) - {*web.GOOD, *web.COPIED, *web.UNREACHABLE} == {*FAULTY, LEAK}
