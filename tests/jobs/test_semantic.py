"""Semantic deduplication: pairs once for all pictures, and of what the rules leave one stays of those that are near."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import neighbours, semantic
from jobs.hashed import PICTURES_FILE
from jobs.matches import MATCHES, MATCHES_FILE
from tests.vlp_core.curation.test_semantic import bundles
from vlp_core.curation.copies import Alike
from vlp_core.curation.score_settings import Semantic
from vlp_core.curation.scores import score_table
from vlp_core.data.layout import COPIES, VERDICTS, read_shards
from vlp_core.errors import UserError
from vlp_core.identity import uid_of
from vlp_core.tracker import Silent
from vlp_core.uids import digest_of_texts

SETTINGS = Semantic(epsilon=0.05, cluster=100)
COUNT = 2000
UIDS = [uid_of(str(number)) for number in range(COUNT)]


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Ten pictures of each of two hundred motifs, the motifs mixed."""
    return bundles(200, 10, 0.1)[np.random.default_rng(1).permutation(COUNT)]


def write_scores(folder: Path, vectors: np.ndarray, best: Sequence[float]) -> Path:
    folder.mkdir(parents=True)
    for shard, rows in enumerate(np.array_split(np.arange(len(vectors)), 7)):
        captions = pa.array([["a", "b"]] * len(rows), pa.list_(pa.string()))
        cosines = np.repeat(np.array(best, np.float32)[rows], 2) - np.tile([0, 0.1], len(rows)).astype(np.float32)
        table = score_table(pa.chunked_array([[UIDS[row] for row in rows]]), captions, cosines, vectors[rows])
        pq.write_table(table, folder / f"{shard:05d}.parquet")
    return folder


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Path:
    return write_scores(tmp_path_factory.mktemp("scores") / "scores", vectors, [0.2] * COUNT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, scores: Path, cluster: str) -> Path:
    out = tmp_path_factory.mktemp("neighbours")
    neighbours.run(scores=scores, semantic=SETTINGS, out=out, tracker=Silent())
    return out


def test_pairs_are_near_and_few_are_missed(made: Path, vectors: np.ndarray) -> None:
    table = read_shards(made)
    found = set(zip(table["left"].to_pylist(), table["right"].to_pylist(), strict=True))
    cosines = vectors @ vectors.T
    near = {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(cosines, 1) > 0.951), strict=True)}
    assert len(found) == len(table) and len(found & near) > 0.97 * len(near) > 1000
    assert all(i < j and cosines[i, j] > 0.949 for i, j in found)
    assert {path.name for path in made.iterdir()} == {*(f"{n:05d}.parquet" for n in range(4)), PICTURES_FILE}


@pytest.mark.parametrize("left", [(), ("_parts", "_centres.npy")])
def test_what_a_kill_left_is_gone_on_with(
    left: tuple[str, ...], made: Path, scores: Path, tmp_path: Path, cluster: str
) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    (tmp_path / "00001.parquet").write_bytes(before["00001.parquet"])
    kept_at = (tmp_path / "00001.parquet").stat().st_ino
    if left:
        neighbours._sort(scores, [f"{n:05d}" for n in range(7)], [286] * 5 + [285] * 2, 4, SETTINGS.seed, tmp_path)
        (tmp_path / "_parts" / ".00000.parquet.0a.tmp").write_bytes(b"half")
    neighbours.run(scores=scores, semantic=SETTINGS, out=tmp_path, tracker=Silent())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (tmp_path / "00001.parquet").stat().st_ino == kept_at


class Left:
    """Six pictures that the first steps have judged: 0, 1 and 2 near one another, 3 and 4, and 5 alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pairs = [(0, 1), (0, 2), (1, 2), (3, 4)]

    def write(
        self,
        *,
        area: Sequence[int],
        best: Sequence[float],
        fell: Sequence[int] = (),
        copies: Sequence[int] = (),
        stays: int = 5,
        matches: Sequence[int] = (),
    ) -> dict:
        uids = UIDS[:6]
        rules = pa.array(["side>=200" if row in fell else None for row in range(6)], pa.string())
        tables = {
            "verdicts": pa.table([uids, rules, [[f"text {row}"] for row in range(6)]], schema=VERDICTS),
            "copies": pa.table(
                [
                    [UIDS[row] for row in copies],
                    [UIDS[stays]] * len(copies),
                    ["near"] * len(copies),
                    copies,
                    [stays] * len(copies),
                ],
                schema=COPIES,
            ),
            "neighbours": pa.table([*zip(*self.pairs, strict=True), [0.99] * 4], schema=neighbours.NEIGHBOURS),
        }
        for name, table in tables.items():
            (self.root / name).mkdir()
            pq.write_table(table, self.root / name / "00000.parquet")
        itself = np.arange(6, dtype=np.int32)
        none = np.empty(0, np.int32)
        (self.root / "near").mkdir()
        Alike(same=itself, look=itself, area=np.array(area), left=none, right=none).write(self.root / "near")
        signed = json.dumps({"pictures": 6, "uids": digest_of_texts(pa.array(uids))})
        (self.root / "matches").mkdir()
        columns = [matches, ["eval"] * len(matches), ["x"] * len(matches), ["near"] * len(matches)]
        pq.write_table(pa.table(columns, schema=MATCHES), self.root / "matches" / MATCHES_FILE)
        for name in ("near", "neighbours", "matches"):
            (self.root / name / PICTURES_FILE).write_text(signed)
        write_scores(self.root / "scores", np.eye(6, dtype=np.float32), best)
        folders = {name: self.root / name for name in (*tables, "near", "scores")}
        return {**folders, "matches": (self.root / "matches",)}


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        ({"area": [1, 1, 1, 1, 1, 1], "best": [0.2] * 6}, {1: 0, 2: 0, 4: 3}),
        ({"area": [1, 1, 2, 1, 1, 1], "best": [0.3, 0.2, 0.2, 0.2, 0.3, 0.2]}, {0: 2, 1: 2, 3: 4}),
        ({"area": [1] * 6, "best": [0.2] * 6, "fell": [0]}, {2: 1, 4: 3}),
        ({"area": [1] * 6, "best": [0.2] * 6, "fell": [3], "copies": [0]}, {2: 1}),
        # None goes for one that an evaluation set has, itself or by a copy; what fell before it came to that is none.
        ({"area": [1] * 6, "best": [0.2] * 6, "matches": [0]}, {2: 1, 4: 3}),
        ({"area": [1] * 6, "best": [0.2] * 6, "matches": [5], "copies": [5], "stays": 0}, {2: 1, 4: 3}),
        ({"area": [1] * 6, "best": [0.2] * 6, "matches": [1], "fell": [1]}, {2: 0, 4: 3}),
    ],
)
def test_the_larger_then_the_better_scored_stays_of_what_is_left(
    judged: dict[str, list], expected: dict[int, int], tmp_path: Path
) -> None:
    folders = Left(tmp_path).write(**judged)
    (tmp_path / "out").mkdir()
    counts = semantic.run(**folders, out=tmp_path / "out", tracker=Silent()).counts
    table = read_shards(tmp_path / "out")
    assert dict(zip(table["row"].to_pylist(), table["kept_row"].to_pylist(), strict=True)) == expected
    assert table["uid"].to_pylist() == [UIDS[row] for row in sorted(expected)]
    assert counts["semantic/removed"] == len(expected)


def test_pairs_of_other_pictures_are_refused(tmp_path: Path) -> None:
    folders = Left(tmp_path).write(area=[1] * 6, best=[0.2] * 6)
    (folders["neighbours"] / PICTURES_FILE).write_text(json.dumps({"pictures": 7, "uids": "other"}))
    with pytest.raises(UserError, match="of other pictures"):
        semantic.run(**folders, out=tmp_path, tracker=Silent())
