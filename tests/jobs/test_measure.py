"""Measure: what judges find is there by uid, once, whatever happened before."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs import measure
from jobs.columns import column, columns
from tests.jobs.pictures import Picture, write_images
from tests.vlp_core.curation.drawings import blotches, jpeg
from vlp_core.curation.quantities import JUDGES, QUANTITIES, Judge, Quantity
from vlp_core.curation.rules import parse_rules
from vlp_core.curation.shard import Shard
from vlp_core.data.layout import read_shards
from vlp_core.errors import UserError
from vlp_core.identity import uid_of
from vlp_core.tracker import Silent

CAPTIONS = (["a dog and a dog", "www.dogs.com/red-dog"], [], ["zwei Hunde laufen über die Wiese"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of two rows each; the first of the second was not fetched."""
    pictures = [
        Picture(url=f"http://h.test/{i}", body=jpeg(blotches(i, width=300 + i, height=150)), captions=captions)
        for i, captions in enumerate(CAPTIONS)
    ]
    pictures.insert(2, Picture(url="http://h.test/lost", body=None, captions=["a lost dog"]))
    return write_images(tmp_path_factory.mktemp("images"), pictures, shard_size=2)


def measured(images: Path, out: Path, *judges: str) -> pa.Table:
    out.mkdir(exist_ok=True)
    summary = measure.run(images=images, judges=measure.versions(judges), out=out, tracker=Silent())
    assert summary.counts == {"pictures/measured": 3, "shards": 2}
    return read_shards(out)


def test_what_the_judges_find_stands_by_uid_a_value_a_picture_or_a_list_of_one_a_caption(
    images: Path, tmp_path: Path, cluster: str
) -> None:
    found = measured(images, tmp_path / "out", "picture", "list", "text", "language", "speech", "shared")
    assert found["uid"].to_pylist() == [uid_of(f"http://h.test/{i}") for i in range(3)]
    assert found["bytes"].to_pylist() == read_shards(images)["bytes"].drop_null().to_pylist()
    columns = found.drop_columns(["uid", "bytes"]).to_pydict()
    assert columns == {
        "side": [150, 150, 150],
        "ratio": [2, 301 / 150, 302 / 150],
        "captions": [2, 0, 1],
        "format": ["jpeg"] * 3,
        "listed": ["yes"] * 3,
        "chars": [[15, 20], [], [32]],
        "words": [[5, 1], [], [6]],
        "repetition": [[0.4, 0], [], [0]],
        "filename": [["no", "yes"], [], ["no"]],
        "language": [["en", "en"], [], ["de"]],
        "nouns": [[2, 2], [], [1]],
        "determiners": [[2, 0], [], [0]],
        "shared": [[1, 1], [], [1]],
    }
    assert set(columns) | {"bytes", "clip", "unsafe", "watermark", "quality"} == set(QUANTITIES)


def test_an_attempt_that_was_killed_is_gone_on_with(images: Path, tmp_path: Path, cluster: str) -> None:
    """A good shard stays as it is; one that is cut off, or of other pictures, is made again."""
    out = tmp_path / "out"
    whole = measured(images, out, "text", "shared")
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert sorted(before) == ["00000.parquet", "00001.parquet"]
    second = out / "00001.parquet"
    second.write_bytes(second.read_bytes()[:-10])
    (out / ".00001.parquet.dead.tmp").write_bytes(b"half")
    assert measured(images, out, "text", "shared").equals(whole)
    assert (out / "00000.parquet").stat().st_mtime_ns == before["00000.parquet"]
    pq.write_table(pq.read_table(out / "00000.parquet"), second)
    assert measured(images, out, "text", "shared").equals(whole)
    assert sorted(path.name for path in out.iterdir()) == sorted(before)


def test_a_new_judge_is_a_function_and_a_line(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hyphenated(shard: Shard) -> Mapping[str, pa.Array]:
        return {"hyphens": pc.count_substring(shard.texts, "-")}

    judge = Judge(measure=hyphenated, of="captions", gives={"hyphens": Quantity("hyphens in the caption")})
    monkeypatch.setitem(JUDGES, "hyphenated", judge)
    monkeypatch.setitem(QUANTITIES, "hyphens", judge.gives["hyphens"])
    for name in ("00000", "00001"):  # in this process, which alone knows of the judge
        measure._measure(
            measure._Task(images=images, name=name, judges=("hyphenated",), detector="", shared=None, out=tmp_path)
        )
    (rule,) = parse_rules(["hyphens<1"])
    values = column([tmp_path], "00000", "hyphens")
    assert rule.of_captions and rule.passes(values).tolist() == [True, False]


def test_a_quantity_that_nobody_measured_is_told(images: Path, tmp_path: Path, cluster: str) -> None:
    measured(images, tmp_path / "out", "text")
    with pytest.raises(UserError, match=r"nouns \(nouns in the caption .*measured in none"):
        columns([tmp_path / "out"], "00000", ["words", "nouns"])
