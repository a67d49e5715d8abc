"""--keep on releases of real pictures, killed anywhere: until it is run again all that is there is whole."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs import hash
from pipelines.collect import collect
from pipelines.workflow.record import Record, bad_files
from tests.forks import each_change, killed
from tests.jobs.refreshing import World, contents
from tests.pipelines.purging import Purged, contents_of
from tests.pipelines.records import recorded
from vlp_core.data.releases import numbers, read

BUSY = "4.jpg"  # at first: what the first two lists have in common, of which the second release has nothing old
LISTED = (("0.jpg", "1.jpg", BUSY), (BUSY, "5.jpg", "6.jpg", "7.jpg"), ("6.jpg", "7.jpg", "8.jpg"))
OLD = {*(f"{step}/photos-1" for step in ("release", "publish", "download", "ingest")), "adopt-1/0", "hash-1/0"}
GOES = OLD | {"publish/photos-2", "hash-2/0"}


@dataclass(frozen=True)
class Kept:
    """What --keep 1 makes of three releases; on the second of them a model stands."""

    root: Path
    pictures: Mapping[int, Any]
    """By the numbers of the releases."""
    before: set[str]
    whole: dict[str, bytes]
    changes: int

    def anew(self) -> None:
        """Where it was made: releases know their tars by absolute paths."""
        shutil.rmtree(self.root)
        shutil.copytree(self.root.with_name("as it was"), self.root)


def keep_one(root: Path) -> None:
    list(collect(root, "photos", 1))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, cluster: str) -> Kept:
    data = Purged(World(tmp_path_factory.mktemp("kept")), {})
    root = data.root
    with data.world.site:
        data.world.pictures(*range(9))
        data.world.says[BUSY] = 503
        for listed in LISTED:
            data.world.refresh({path: f"caption of {path}" for path in listed})
            data.world.pictures(4)
    for number in numbers(root, "photos"):
        data.refreshed(f"photos-{number}")
        recorded(root / "publish" / f"photos-{number}", release=record_of(root / "release" / f"photos-{number}"))
        images = data.adopted(f"adopt-{number}", read(root, "photos", number).path)
        data.run(f"hash-{number}", hash, images=images)
    model = root / "train" / "0"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    recorded(model, images=record_of(root / "adopt-2" / "0"))
    shutil.copytree(root, root.with_name("as it was"))
    pictures = {number: contents(read(root, "photos", number)) for number in numbers(root, "photos")}
    before, changes = set(results(root)), list[int]()
    with each_change(changes.append):
        keep_one(root)
    assert before - set(results(root)) == GOES and numbers(root, "photos") == [2, 3]
    return Kept(root, pictures, before, contents_of(root), len(changes))


def record_of(folder: Path) -> Record:
    record = Record.read(folder)
    assert record is not None
    return record


def results(root: Path) -> dict[str, Record]:
    """Those that a pipeline would take for made."""
    found = (path.parent for path in root.glob("[!.]*/[!.]*/_RECORD.json"))
    return {f"{folder.parent.name}/{folder.name}": record_of(folder) for folder in found}


@pytest.mark.parametrize("part", [0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1])
def test_killed_anywhere_it_leaves_nothing_half_and_ends_as_one_that_nobody_killed(kept: Kept, part: float) -> None:
    kept.anew()
    root = kept.root
    killed(1 + round(part * (kept.changes - 1)), keep_one, root, at=each_change)
    there = results(root)
    assert kept.before - GOES <= there.keys() <= kept.before
    for name, record in there.items():
        assert not bad_files(root / name, record, whole=True, remember=False), name
    made = {(record.step, record.content) for record in there.values()}
    for name, record in there.items():
        on = {(on["step"], on["content"]) for on in record.inputs.values() if isinstance(on, dict) and "content" in on}
        assert on <= made, f"{name} has lost what it stands on"
        assert all(Path(source).exists() for source in record.inputs.get("sources", ())), name
    for number in numbers(root, "photos"):
        assert contents(read(root, "photos", number)) == kept.pictures[number]
    keep_one(root)
    assert contents_of(root) == kept.whole
    assert not [path for path in root.rglob(".*") if path.suffix in (".old", ".tmp")]
