"""A root with two releases of a data set, and a selection, shards and a report that were made of the first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import adopt, dedup, filter, hash, matches, measure, near, report, select, shard
from pipelines.workflow.record import Record
from tests.jobs.refreshing import World
from tests.pipelines.records import recorded
from tests.vlp_core.web.site import picture
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.settings import Filter, Near, Select
from vlp_core.data.parts import digest, parts_of
from vlp_core.data.releases import read
from vlp_core.data.settings import Shard
from vlp_core.evals.names import QUERIES
from vlp_core.report.settings import Report
from vlp_core.tracker import Silent

COPY = "5.jpg"  # of 0.jpg, byte for byte


@dataclass
class Purged:
    """Results with records, as a pipeline leaves them; `folders` by what they are called here."""

    world: World
    folders: dict[str, Path]

    @property
    def root(self) -> Path:
        return self.world.root


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
        pairs = recorded(world.root / "ingest" / name)
        own = {"pairs": pairs}
        if (world.root / "changes" / name).exists():
            own["changes"] = recorded(world.root / "changes" / name, pairs=pairs)
        own["download"] = recorded(world.root / "download" / name, pairs=own.get("changes", pairs))
        recorded(world.root / "release" / name, **own)
    _derived(found, *(read(world.root, "photos", number).path for number in (1, 2)))
    return found


def _derived(found: Purged, release: Path, others: Path) -> None:
    root = found.root

    def run(step: str, stage: Any, **inputs: Any) -> Path:
        out = found.folders[step] = root / step / "0"
        out.mkdir(parents=True)
        stage.run(**inputs, out=out, tracker=Silent())
        flat = {key: _reference(value) for key, value in inputs.items()}
        recorded(out, **{key: value for key, value in flat.items() if value is not None})
        return out

    def adopted(step: str, release: Path) -> Path:
        sources = (str(release),)
        return run(step, adopt, sources=sources, listing=digest(parts_of(sources[0])), caption_names=("caption",))

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
    for end, scored_on in (("shown", "retrieval"), ("trained", "model")):  # on these pictures, or by what saw them
        out = found.folders[f"evaluate-{end}"] = root / "evaluate" / end
        out.mkdir(parents=True)
        (out / QUERIES).write_bytes(picture(kind="PNG"))
        recorded(out, **{scored_on: _reference(images)})


def _reference(value: Any) -> Any:
    if isinstance(value, Path):
        record = Record.read(value)
        return None if record is None else {"step": record.step, "content": record.content}
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else _reference(item) for item in value if isinstance(item, str | Path)]
    return None
