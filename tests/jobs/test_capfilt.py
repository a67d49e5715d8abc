"""CapFilt: captions stay that match their picture as well as the threshold asks, whoever wrote them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import capfilt
from tests.jobs.pictures import Picture, write_images
from tests.vlp_core import walls
from tests.vlp_core.data.folders import write_selection
from vlp_core.curation.selection import selection_digest
from vlp_core.data.layout import CAPTIONED, SELECTION, SELECTION_FILE
from vlp_core.data.stored import read_selection
from vlp_core.errors import UserError
from vlp_core.files import write_table
from vlp_core.tracker import Silent

# By picture: captions of the web with their matches, and what was written, with its match.
ROWS: list[tuple[dict[str, float], str | None, float | None]] = [
    ({"right": 0.9, "wrong": 0.1}, "written", 0.8),
    ({"wrong": 0.2}, "written", 0.5),  # on the threshold: it stays
    ({"wrong": 0.2, "false": 0.4999}, "written badly", 0.3),  # nothing is left of it
    ({"right": 0.7}, None, None),
    ({"right": 0.6, "fine": 0.55}, "right", 0.61),  # written as the web has it
    ({}, "written", 0.9),
]
PICTURES = [Picture(url=f"http://h.test/{number}", body=walls.photo("red", number)) for number in range(len(ROWS))]
LEFT = {0: ["right", "written"], 1: ["written"], 3: ["right"], 4: ["right", "fine"], 5: ["written"]}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("capfilt")
    uids, captions = [picture.uid for picture in PICTURES], [list(web) for web, *_ in ROWS]
    weights = [1.0 + number for number in range(len(ROWS))]
    selection = write_selection(root / "selection", uids, weights=weights, captions=captions).parent
    (selection / "selection.json").write_text(json.dumps({"digest": "0", "removed": {"rules": 7}}))
    told = [
        {"uid": uid, "synthetic": text, "synthetic_match": match, "web_match": list(web.values())}
        for uid, (web, text, match) in zip(uids, ROWS, strict=True)
    ]
    write_captioned(root / "captions", [told[:4], told[4:]])
    return {
        "images": write_images(root / "images", PICTURES, shard_size=4),
        "selection": selection,
        "captions": root / "captions",
    }


def write_captioned(folder: Path, shards: list[list[dict[str, Any]]]) -> Path:
    for number, rows in enumerate(shards):
        write_table(folder / f"{number:05d}.parquet", pa.Table.from_pylist(rows, schema=CAPTIONED))
    return folder


def test_what_matches_is_the_new_selection(inputs: dict[str, Path], tmp_path: Path) -> None:
    summary = capfilt.run(**inputs, threshold=0.5, out=tmp_path, tracker=Silent())
    table = pq.read_table(tmp_path / SELECTION_FILE)
    assert table.schema.equals(SELECTION) and table["uid"].to_pylist() == sorted(table["uid"].to_pylist())
    found = {row["uid"]: row for row in table.to_pylist()}
    assert {uid: row["captions"] for uid, row in found.items()} == {
        PICTURES[number].uid: captions for number, captions in LEFT.items()
    }
    assert {row["weight"] for row in found.values()} == {1.0 + number for number in LEFT}
    assert summary.counts == {
        "web/kept": 4,
        "web/dropped": 4,
        "synthetic/kept": 4,
        "synthetic/dropped": 1,
        "pictures/selected": 5,
        "pictures/dropped": 1,
    }
    assert json.loads((tmp_path / "selection.json").read_text()) == {
        "digest": selection_digest(table),
        "rows": 5,
        "captions": 7,
        "removed": {"rules": 7, "capfilt": 1},
        "capfilt": {"web": {"kept": 4, "dropped": 4}, "synthetic": {"kept": 4, "dropped": 1}},
    }


def test_equal_runs_give_equal_files_and_another_threshold_another_selection(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    files = []
    for name, threshold in (("one", 0.5), ("two", 0.5), ("all", 0.0)):
        (tmp_path / name).mkdir()
        capfilt.run(**inputs, threshold=threshold, out=tmp_path / name, tracker=Silent())
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    assert read_selection(tmp_path / "all")["captions"].to_pylist() == [
        list(dict.fromkeys([*web, *filter(None, [text])]))
        for _, (web, text, _) in sorted(zip([picture.uid for picture in PICTURES], ROWS, strict=True), key=str)
    ]


def test_the_picture_shows_both_what_stays_and_what_goes(inputs: dict[str, Path], tmp_path: Path) -> None:
    summary = capfilt.run(**inputs, threshold=0.5, out=tmp_path, tracker=Silent())
    with Image.open(io.BytesIO((tmp_path / summary.pictures["capfilt"]).read_bytes())) as image:
        shown = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in ("#1a9850", "#d73027"):
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(shown - np.array(wanted)).max(axis=1) < 8).any()


def test_a_threshold_that_nothing_reaches_is_told(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no caption of 6 pictures matches with --capfilt\.threshold 0\.95; lower it"):
        capfilt.run(**inputs, threshold=0.95, out=tmp_path, tracker=Silent())


def test_captions_of_another_selection_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    told = pq.read_table(inputs["captions"] / "00000.parquet").to_pylist()
    more = pq.read_table(inputs["captions"] / "00001.parquet").to_pylist()
    more[0]["web_match"].pop()
    for shards in ([told], [told, more]):
        other = write_captioned(tmp_path / str(len(shards)), shards)
        with pytest.raises(UserError, match="written for another selection"):
            capfilt.run(**{**inputs, "captions": other}, threshold=0.5, out=tmp_path, tracker=Silent())
