"""release: what a list has today, out of the release before and what was fetched since, as an images folder."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs import judged, release_shards
from jobs.changes import digest_of_list, read_changes
from jobs.download_shard import WORK
from jobs.held import Held
from jobs.release_card import Card, write_card
from jobs.release_plan import Asked, Plan
from jobs.release_shards import FLAG, PLACED, TARGET, Tally, write_bucket
from jobs.shards import map_shards
from vlp_core.curation.listed import LIST_SHA256
from vlp_core.curation.settings import Near
from vlp_core.data.layout import LEDGER, iterate_shards, shard_names
from vlp_core.data.releases import CHANGE, CHANGES, CHANGES_FILE, INFO_FILE, QUARANTINE_FILE, Next, read_info
from vlp_core.data.spread import Buckets, bucket_count
from vlp_core.data.takedowns import digest_of_takedowns
from vlp_core.errors import UserError
from vlp_core.files import replacing, write_bytes, write_table, write_text
from vlp_core.identity import canonical_json, digest_of
from vlp_core.tracker import Progress, Summary, Tracker
from vlp_core.web.reasons import class_of
from vlp_core.web.settings import Fetch

VERSION = "1"
RESUMABLE = False

_TIMES_LARGER = 4  # a list in memory than its Parquet files


def run(
    *,
    pairs: Path,
    download: Path,
    next: Next,
    fetch: Fetch,
    near: Near,
    card: Card,
    out: Path,
    tracker: Tracker,
    changes: Path | None = None,
    takedowns: Path | None = None,
    let_in: tuple[str, ...] = (),
) -> Summary:
    """Write the release of `pairs` into `out`: see `vlp_core.data.releases` for what is in it.

    Args:
        pairs: the whole list of today (the output of ingest), whose captions and further columns rows get.
        download: what was fetched, of all of it or of what `changes` named.
        changes: output of `changes`; where that found nothing to be done, neither does this.
        takedowns: the tombstones as they were when all of it began; those of `next` are as they are now.
        near: how near a picture that changed must be to what was there, by hash and colours.

    Raises:
        UserError: something that the release before stands on is damaged, or no picture is left.
    """
    said: dict[str, Any] = {"nothing": False, "list": None} if changes is None else read_changes(changes)
    if said["nothing"]:
        write_text(out / INFO_FILE, canonical_json({"title": next.title, "nothing": True}) + "\n")
        return Summary(counts={"rows": 0})
    work = out / WORK
    takedowns = _as_they_are(next.takedowns, work) or takedowns
    fetched = shard_names(download)
    tasks = [
        judged.Task(
            fetched=download, name=name, changes=changes, takedowns=takedowns, near=near, as_of=next.as_of, out=work
        )
        for name in fetched
    ]
    progress = Progress(tracker, None, unit="shards")
    for _ in map_shards(judged.judge, tasks):
        progress.add(1)
    held = Held.read(next.folder)
    plan = Plan.make(pairs, held, Asked.read(work, fetched), takedowns, let_in)
    tally = Tally()
    for _, part in map_shards(write_bucket, _spread(plan, pairs, download, work, out)):
        tally.add(part)
        progress.add(1)
    if not tally.pictures:
        raise UserError(f"{next.title}: no picture would be left: {_why(tally)}; check the list and the takedowns")
    write_table(out / QUARANTINE_FILE, plan.quarantine(work))
    counts = _counts(plan, tally, _write_changes(plan, work, out), said.get("counts", {}))
    stored = [fetch.image_size, fetch.resize_mode, fetch.resize_only_if_bigger, fetch.encode_quality]
    if next.folder is not None and read_info(next.folder).get("stored", stored) != stored:
        tracker.warn(f"{next.title}: pictures fetched now have another size or quality than those that were there")
    info: dict[str, Any] = {
        "name": next.name,
        "number": next.number,
        "title": next.title,
        "as_of": next.as_of,
        "before": next.before,
        "list": said["list"] or digest_of_list(pairs),
        "digest": digest_of(tally.digests),
        "nothing": False,
        "stored": stored,
        "takedowns": digest_of_takedowns(takedowns),
        "counts": counts,
    }
    if takedowns is None and next.takedowns is not None and next.takedowns.exists():
        raise UserError(f"{next.title}: the first takedown came while it was made; start again, and it is left out")
    write_text(out / INFO_FILE, canonical_json(info) + "\n")
    write_card(out, info, card, fetch, tally)
    shutil.rmtree(work)
    return Summary(counts=counts, pictures={"card": "card.md"})


def _as_they_are(takedowns: Path | None, work: Path) -> Path | None:
    """A copy of the tombstones, which are the same then from the first row to the last; None where there are none."""
    if takedowns is None or not takedowns.exists():
        return None
    write_bytes(work / takedowns.name, takedowns.read_bytes())
    return work / takedowns.name


def _spread(plan: Plan, pairs: Path, download: Path, work: Path, out: Path) -> list[release_shards.Task]:
    """Spread the list's rows, and what was asked of rows that stay where they are, over buckets of whole tars."""
    names = shard_names(pairs)
    size = sum((pairs / f"{name}.parquet").stat().st_size for name in names) * _TIMES_LARGER
    targets = plan.targets(download, bucket_count(size))
    bucket_of = targets.buckets
    listed = pq.read_schema(pairs / f"{names[0]}.parquet")
    # What the list says of the bodies has been compared: nobody compares it once more with what was let in.
    further = [column for column in listed if column.name not in ("url", LIST_SHA256)]
    with (
        Buckets(work / "rows", pa.schema([*PLACED, *further]), targets.count) as rows,
        Buckets(work / "asked", pa.schema([PLACED[0], *LEDGER]), targets.count) as asked,
    ):
        start = 0
        for table in iterate_shards(pairs):
            part = slice(start, start + len(table))
            start += len(table)
            there = plan.target[part] >= 0
            table = table.append_column(TARGET, pa.array(plan.target[part], pa.int32()))
            table = table.append_column(FLAG, pa.array(plan.flag[part])).filter(pa.array(there))
            rows.add(table, bucket_of[plan.target[part][there]])
        for table, target in plan.stayed(work):
            asked.add(table.append_column(TARGET, pa.array(target, pa.int32())), bucket_of[target])
    return [
        release_shards.Task(
            rows=rows.paths[bucket],
            asked=asked.paths[bucket],
            targets=found,
            held=plan.held.folder,
            judged=work,
            out=out,
        )
        for bucket, found in enumerate(targets.by_bucket)
        if found
    ]


def _write_changes(plan: Plan, work: Path, out: Path) -> Counter[str]:
    """CHANGES, a table after the other; how many there are of each."""
    counts: Counter[str] = Counter()
    with replacing(out / CHANGES_FILE) as path, pq.ParquetWriter(path, CHANGES, compression="zstd") as writer:
        for table in plan.changes(work):
            writer.write_table(table)
            counts.update(table["change"].to_pylist())
    return counts


def _counts(plan: Plan, tally: Tally, changed: Counter[str], asked: dict[str, float]) -> dict[str, float]:
    classes: Counter[str] = Counter()
    for reason, count in tally.reasons.items():
        classes[reason.replace(" ", "_") if reason in ("quarantined", "taken down") else class_of(reason)] += count
    waiting, hidden = classes.pop("quarantined", 0), classes.pop("taken_down", 0)
    return {
        "pictures": tally.pictures,
        **{name: changed[name] for name in CHANGE},
        "rows": tally.rows,
        "captions/all": tally.captions,
        "asked": len(plan.asked),
        "unchanged": plan.unchanged,
        "failed": tally.rows - tally.pictures - waiting - hidden,
        **{f"failed/{name}": classes[name] for name in sorted(classes)},
        "quarantined/all": waiting,
        "taken_down/pictures": hidden,
        "taken_down/links": int(asked.get("links/taken_down", 0)),
        "shards": len(tally.digests),
    }


def _why(tally: Tally) -> str:
    found = release_shards.common(tally.reasons, 8)
    return ", ".join(f"{count} × {reason}" for reason, count in found) or "the list has no row that is not taken down"
