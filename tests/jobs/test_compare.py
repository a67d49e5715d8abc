"""Arms compared: the scores they are given, what the truth says of them, and what is left for MLflow."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs import compare
from tests.vlp_core.data.folders import write_images, write_selection
from vlp_core.curation.arms import parse_arms
from vlp_core.files import write_table
from vlp_core.identity import digest_of
from vlp_core.tracker import Silent, Summary

METRIC = "retrieval/text_to_image_r@10"
ARMS = ("all", "words>2", "strict:words>5,side>=200", "twin:words>2,chars>1")
SCORES = ((0.3, 0.32), (0.5, 0.52), (0.1, 0.1))
FAULTY, FAILED = 4, 3  # of the pictures, the first so many are wrong; the last so many were not fetched


def write_arms(folder: Path) -> dict[str, Any]:
    """Selections: all 12 pictures, the 8 good ones and a wrong one, one good one, and the second again, under which
    nothing was trained. As `compare` takes them."""
    every = list(write_images(folder / "images", [10, 5], failed=(12, 13, 14)))
    for number, uids in enumerate((every, every[FAULTY - 1 :], every[-1:], every[FAULTY - 1 :])):
        write_selection(folder / f"selection{number}", uids)
        chosen = {"rows": len(uids), "captions": 30, "digest": digest_of(uids)}
        (folder / f"selection{number}/selection.json").write_text(json.dumps(chosen))
        for seed, score in enumerate(SCORES[number] if number < len(SCORES) else ()):
            trial = folder / f"trial{number}{seed}"
            trial.mkdir()
            (trial / "scores.json").write_text(json.dumps({METRIC: score, "zero_shot/top1": 1 - score}))
    kinds = ["wrong"] * FAULTY + ["good"] * (len(every) - FAULTY)
    truth = {"uid": every, "kind": kinds, "original": pa.nulls(len(every), pa.string())}
    write_table(folder / "truth.parquet", pa.table(truth))
    return {
        "images": folder / "images",
        "arms": parse_arms(ARMS),
        "selections": tuple(folder / f"selection{number}" for number in range(4)),
        "trials": tuple(folder / f"trial{number}{seed}" for number in range(4) for seed in range(2)),
        "seeds": 2,
        "truth": folder / "truth.parquet",
    }


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_arms(tmp_path_factory.mktemp("compare"))


def compared(arms: dict[str, Any], out: Path, **others: Any) -> Summary:
    out.mkdir()
    return compare.run(**{**arms, **others}, out=out, tracker=Silent())


def test_the_winner_the_table_and_whether_the_truth_agrees(arms: dict[str, Any], tmp_path: Path) -> None:
    summary = compared(arms, tmp_path / "out")
    assert json.loads((tmp_path / "out/_TAGS.json").read_text()) == {
        "vlp.winner": "words-gt-2",
        "vlp.winner_rules": "words>2",
    }
    means = {"all": 0.31, "words-gt-2": 0.51, "strict": 0.1, "twin": 0.51}
    truths = {"all": 16 / 20, "words-gt-2": 16 / 17, "strict": 2 / 9, "twin": 16 / 17}
    pairs = {"arms": 4, "arms/distinct": 3, "pairs": 3, "pairs/apart": 3, "kendall_tau": 1.0}
    scores = {f"{METRIC}/{name}": mean for name, mean in means.items()} | {f"best/{METRIC}": 0.51}
    assert summary.counts == pytest.approx(pairs | scores | {f"f1/{name}": f1 for name, f1 in truths.items()})
    assert (tmp_path / "out" / summary.pictures["comparison"]).read_bytes().startswith(b"\x89PNG")
    said = (tmp_path / "out/comparison.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in said[2:6]] == ["| words-gt-2", "| twin", "| all", "| strict"]
    assert "| 88.9 | 100.0 | 0.941 |" in said[2] and "| same selection as words-gt-2 |" in said[3]
    assert said[-3] == "twin has the same selection as words-gt-2: trained once, counted once."
    assert "Kendall's tau-b 1.00, and every two arms are clearly apart" in said[-2]
    assert said[-1] == "words-gt-2 wins: 20.0 points ahead of all, more than seeds alone do."
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["winner"] == "words-gt-2" and found["metric"] == METRIC
    assert [arm["scores"] for arm in found["arms"]] == [list(scores) for scores in (*SCORES, SCORES[1])]


def test_without_a_clear_winner_none_is_declared(arms: dict[str, Any], tmp_path: Path) -> None:
    close = tmp_path / "close"
    close.mkdir()
    (close / "scores.json").write_text(json.dumps({METRIC: 0.7, "zero_shot/top1": 0.1}))
    compared(arms, tmp_path / "out", trials=(close, *arms["trials"][1:]))  # a mean of .51, and seeds far apart
    tags = json.loads((tmp_path / "out/_TAGS.json").read_text())
    assert tags == {"vlp.winner": "undecided", "vlp.leading": "all, words-gt-2, strict"}
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["winner"] is None and found["leading"] == ["all", "words-gt-2", "strict"]
    said = (tmp_path / "out/comparison.md").read_text().splitlines()
    assert said[-1].startswith("undecided: no arm is clearly ahead of words-gt-2; all leads by 0.0 points, less than")


def test_without_a_truth_scores_alone_are_told(arms: dict[str, Any], tmp_path: Path) -> None:
    summary = compared(arms, tmp_path / "out", truth=None)
    assert not [name for name in summary.counts if name.startswith(("f1", "kendall"))]
    assert "F1" not in (tmp_path / "out/comparison.md").read_text()


def test_a_truth_that_knows_no_good_picture_ranks_nothing(arms: dict[str, Any], tmp_path: Path) -> None:
    truth = pq.read_table(arms["truth"])
    write_table(tmp_path / "truth.parquet", truth.filter(pc.equal(truth["kind"], "wrong")))
    summary = compared(arms, tmp_path / "out", truth=tmp_path / "truth.parquet")
    assert {value for name, value in summary.counts.items() if name.startswith("f1/")} == {0.0}
