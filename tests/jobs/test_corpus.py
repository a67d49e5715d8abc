import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import corpus
from vlp_core.identity import sha256_of_file, uid_of
from vlp_core.miniature.settings import Corpus
from vlp_core.miniature.web import KINDS
from vlp_core.tracker import Silent, Summary

SMALL = {"scenes": 60, "retrieval": 12, "per_class": 1, "per_held_out_class": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("corpus")
    return out, corpus.run(corpus=Corpus(**SMALL), out=out, tracker=Silent())


def digests(out: Path) -> dict[str, str]:
    return {path.name: sha256_of_file(path) for path in sorted(out.iterdir())}


def test_equal_settings_give_equal_bytes_and_other_seeds_others(made: tuple[Path, Summary], tmp_path: Path) -> None:
    out, _ = made
    again, other = tmp_path / "again", tmp_path / "other"
    for folder, seed in ((again, 0), (other, 1)):
        folder.mkdir()
        corpus.run(corpus=Corpus(**SMALL, seed=seed), out=folder, tracker=Silent())
    assert digests(again) == digests(out)
    differing = {name for name, digest in digests(other).items() if digest != digests(out)[name]}
    assert differing == set(digests(out)) - {"classes.json"}


def test_the_lists_and_the_truth_agree(made: tuple[Path, Summary]) -> None:
    out, summary = made
    truth = pq.read_table(out / "truth.parquet").to_pylist()
    assert all(row["uid"] == uid_of(row["url"]) for row in truth)
    for name in ("train", "retrieval", "zero_shot"):
        urls = {row["url"] for row in truth if row["list"] == name}
        assert set(pq.read_table(out / f"{name}.parquet")["url"].to_pylist()) == urls
        assert summary.counts[f"rows/{name}"] == len(urls)
    assert {row["kind"] for row in truth} == set(KINDS)
    rows = [row["kind"] for row in truth if row["list"] == "train"]
    assert {kind: summary.counts[f"kind/{kind}"] for kind in KINDS} == {kind: rows.count(kind) for kind in KINDS}


def test_zero_shot_names_classes_and_their_groups(made: tuple[Path, Summary]) -> None:
    out, _ = made
    shown = pq.read_table(out / "zero_shot.parquet").to_pylist()
    named = json.loads((out / "classes.json").read_text())
    assert len(named["classes"]) == 64
    assert {row["label"] for row in shown} == set(named["classes"])
    assert all(template.count("{}") == 1 for template in named["templates"])
    groups = {row["label"]: row["group"] for row in shown}
    assert sorted(groups.values()).count("held_out") == 8


def test_the_contact_sheet_is_a_picture(made: tuple[Path, Summary]) -> None:
    out, summary = made
    with Image.open(out / summary.pictures["sheet"]) as sheet:
        assert min(sheet.size) > 800
