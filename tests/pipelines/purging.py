"""A root with two releases of a data set, and a selection, shards and a report that were made of the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import adopt, capfilt, dedup, filter, hash, matches, measure, near, neighbours, report, select, shard
from pipelines.workflow.record import Record, bad_files
from tests.jobs.refreshing import World
from tests.pipelines.records import recorded
from tests.vlp_core.web.site import picture
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.score_settings import Semantic
from vlp_core.curation.scores import score_table
from vlp_core.curation.settings import Filter, Near, Select
from vlp_core.data.layout import CAPTIONED, shard_names
from vlp_core.data.parts import digest, parts_of
from vlp_core.data.releases import read
from vlp_core.data.settings import Shard
from vlp_core.data.stored import read_selection
from vlp_core.evals.names import QUERIES
from vlp_core.files import write_table
from vlp_core.report.settings import Report
from vlp_core.tracker import Silent

COPY = "5.jpg"  # of 0.jpg, byte for byte
SEMANTIC = Semantic(epsilon=0.05)


@dataclass
class Purged:
    """Results with records, as a pipeline leaves them; `folders` by what they are called here."""

    world: World
    folders: dict[str, Path]

    @property
    def root(self) -> Path:
        return self.world.root

    def refreshed(self, name: str) -> None:
        """Records of what a refresh has left."""
        pairs = recorded(self.root / "ingest" / name)
        own = {"pairs": pairs}
        if (self.root / "changes" / name).exists():
            own["changes"] = recorded(self.root / "changes" / name, pairs=pairs)
        own["download"] = recorded(self.root / "download" / name, pairs=own.get("changes", pairs))
        recorded(self.root / "release" / name, **own)

    def run(self, step: str, stage: Any, **inputs: Any) -> Path:
        """What a stage makes."""
        out = self.folders[step] = self.root / step / "0"
        out.mkdir(parents=True)
        stage.run(**inputs, out=out, tracker=Silent())
        flat = {key: _reference(value) for key, value in inputs.items()}
        recorded(out, **{key: value for key, value in flat.items() if value is not None})
        return out

    def told(self, step: str, tables: Mapping[str, pa.Table], **inputs: Path) -> Path:
        """What a model would say."""
        out = self.folders[step] = self.root / step / "0"
        out.mkdir(parents=True)
        for name, table in tables.items():
            write_table(out / f"{name}.parquet", table)
        recorded(out, **{key: _reference(value) for key, value in inputs.items()})
        return out

    def adopted(self, step: str, release: Path) -> Path:
        sources = (str(release),)
        return self.run(step, adopt, sources=sources, listing=digest(parts_of(sources[0])), caption_names=("caption",))


def made(folder: Path) -> Purged:
    """photos@1 of 0 to 7.jpg, photos@2 with 8.jpg too; all else is of photos@1."""
    world = World(folder)
    with world.site:
        world.pictures(*range(9))
        world.says[COPY] = world.says["0.jpg"]
        numbered = {f"{number}.jpg": f"caption of {number}" for number in range(9)}
        world.refresh({path: text for path, text in numbered.items() if path != "8.jpg"})
        world.refresh(numbered)
    found = Purged(world, {})
    for name in ("photos-1", "photos-2"):
        found.refreshed(name)
    _derived(found, *(read(world.root, "photos", number).path for number in (1, 2)))
    return found


def _derived(found: Purged, release: Path, others: Path) -> None:
    run, told, adopted = found.run, found.told, found.adopted
    images = adopted("adopt", release)
    hashes = run("hash", hash, images=images)
    watched = run("hash-others", hash, images=adopted("adopt-others", others))
    like = run("near", near, hashes=hashes, near=Near())
    run("matches-others", matches, hashes=hashes, others=watched, name="others", near=Near())
    cheap = [name for name, judge in JUDGES.items() if not judge.costly]
    columns = run("measure", measure, images=images, judges=measure.versions(cheap))
    rules = Filter(rules=("words>1",))
    verdicts = run("filter", filter, images=images, columns=(columns,), filter=rules)
    copies = run("dedup", dedup, images=images, near=like, verdicts=verdicts, scores=())
    chosen = {"verdicts": verdicts, "copies": copies, "hashes": hashes}
    selection = run("select", select, **chosen, evaluations=(), select=Select())
    for kind in ("webdataset", "parquet"):
        run(f"shard-{kind}", shard, images=images, selection=selection, shard=Shard(format=kind, size=4))
    shown = {"images": images, "columns": (columns,), "verdicts": verdicts, "copies": copies, "selection": selection}
    run("report", report, **shown, report=Report())
    scores = told("score", {name: _scored(images, name) for name in shard_names(images)}, images=images)
    run("neighbours", neighbours, scores=scores, semantic=SEMANTIC)
    written = told("captions", {"00000": captioned(selection)}, images=images, selection=selection)
    run("capfilt", capfilt, images=images, selection=selection, captions=written, threshold=0.5)
    for end, scored_on in (("shown", "retrieval"), ("trained", "model")):  # on these pictures, or by what saw them
        out = found.folders[f"evaluate-{end}"] = found.root / "evaluate" / end
        out.mkdir(parents=True)
        (out / QUERIES).write_bytes(picture(kind="PNG"))
        recorded(out, **{scored_on: _reference(images)})


def _scored(images: Path, name: str) -> pa.Table:
    """Every other picture shows the same."""
    rows = measure.fetched(images, name)
    motifs = np.eye(2, dtype=np.float32)[np.arange(len(rows)) % 2]
    return score_table(rows["uid"], rows["captions"].combine_chunks(), np.ones(len(rows), np.float32), motifs)


def captioned(selection: Path) -> pa.Table:
    """All match, and so does what was written of each picture."""
    chosen = read_selection(selection)
    captions = chosen["captions"].to_pylist()
    columns = {
        "uid": chosen["uid"].cast(pa.string()),
        "synthetic": [f"a {web[0]}" for web in captions],
        "synthetic_match": [0.9] * len(captions),
        "web_match": [[0.9] * len(web) for web in captions],
    }
    return pa.table(columns, schema=CAPTIONED)


def _reference(value: Any) -> Any:
    if isinstance(value, Path):
        record = Record.read(value)
        return None if record is None else {"step": record.step, "content": record.content}
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else _reference(item) for item in value if isinstance(item, str | Path)]
    return None


def traces(root: Path, *needles: bytes) -> set[str]:
    """The files of a root that hold any of these, as they lie or in a cell of a table."""
    found = set()
    for path in root.rglob("*"):
        if path.is_file() and path.name != "takedowns.parquet":
            body = path.read_bytes()
            if path.suffix == ".parquet":
                body += repr(pq.ParquetFile(path).read().to_pylist()).encode()
            if any(needle in body for needle in needles):
                found.add(str(path.relative_to(root)))
    return found


def check_records(root: Path) -> int:
    """Every file is as a later run expects it."""
    records = [path.parent for path in root.glob("*/*/_RECORD.json")]
    for folder in records:
        record = Record.read(folder)
        assert record is not None and not bad_files(folder, record, whole=True, remember=False), folder
    return len(records)


def contents_of(root: Path) -> dict[str, Any]:
    """All that is in a root but times and tokens."""
    passed = {"purges.jsonl", "_PURGED.json", "_STAMPS.json", "takedowns.parquet"}
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in passed and not path.name.endswith(".lock")
    }
