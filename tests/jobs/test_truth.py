"""A truth against the rows of a list, before anything is done with these."""

from pathlib import Path

import pyarrow as pa
import pytest

from jobs import truth
from vlp_core.errors import UserError
from vlp_core.files import write_table
from vlp_core.tracker import Silent


class Warned(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(
    ("known", "rows", "said"),
    [
        (["a", "b", "c", "x"], 3, []),
        (["a", "x", "y"], 1, ["the truth knows 1 of 3 rows: what it says of this list is said of these alone"]),
        (["x", "y"], 0, []),
    ],
    ids=["all", "some", "none"],
)
def test_how_many_rows_a_truth_knows_is_told(known: list[str], rows: int, said: list[str], tmp_path: Path) -> None:
    for number, uids in enumerate((["a", "b"], ["c"])):
        write_table(tmp_path / f"pairs/0000{number}.parquet", pa.table({"uid": uids}))
    file = tmp_path / "truth.parquet"
    write_table(file, pa.table({"uid": known, "kind": ["good"] * len(known), "original": pa.nulls(len(known))}))
    (tmp_path / "out").mkdir()
    tracker = Warned()

    def run() -> dict[str, float]:
        found = truth.run(rows=tmp_path / "pairs", truth=file, out=tmp_path / "out", tracker=tracker)
        return dict(found.counts)

    if not rows:
        with pytest.raises(UserError, match=r"knows none of the 3 rows; give the truth of this list"):
            run()
    else:
        assert run() == {"rows/known": rows, "rows/listed": 3} and tracker.said == said
