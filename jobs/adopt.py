"""Data that is there already becomes images without copying a picture: rows, identities, and where each one lies."""

import json
from collections import Counter
from pathlib import Path

from jobs.adopt_shard import Task, adopt_shard, counts_of
from jobs.shards import map_shards
from vlp_core.data.adopted import PLACES
from vlp_core.data.layout import iterate_shards, shard_name, shard_names
from vlp_core.data.parts import check, digest, parts_of
from vlp_core.data.releases import DATA_SETS_FILE, data_set_of
from vlp_core.errors import UserError, public_text
from vlp_core.files import write_text
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "1"
RESUMABLE = True


def run(
    *,
    sources: tuple[str, ...],
    listing: str,
    caption_names: tuple[str, ...],
    out: Path,
    tracker: Tracker,
    made: tuple[Path, ...] = (),
    skip_damaged: bool = False,
) -> Summary:
    """Write an images folder over the shards of `sources` (folders, tars, patterns; paths or urls), then of `made`.

    `listing` is the digest of the shards of `sources`; `made` are images folders of other steps. Shards that are there
    are kept. UserError where a shard is damaged (unless those are skipped), a source has changed since it was listed,
    or no picture is left.
    """
    given = [part for source in sources for part in parts_of(source)]
    if digest(given) != listing:
        raise UserError(f"{_shown(sources)}: changed while this was being planned; start again once it is whole")
    parts = [*given, *(part for folder in made for part in parts_of(str(folder), below=False))]
    check(parts)
    for leftover in (*out.glob(".*.tmp"), *(out / PLACES).glob(".*.tmp")):
        leftover.unlink()
    tasks = [
        Task(part=part, name=shard_name(number), out=out, caption_names=caption_names, skip=skip_damaged)
        for number, part in enumerate(parts)
    ]
    progress = Progress(tracker, len(tasks), unit="shards")
    damaged = 0
    for _, reason in map_shards(adopt_shard, tasks):
        if reason is not None:
            tracker.warn(f"left out: {reason}")
            damaged += 1
        progress.add(1, failed=int(reason is not None))
    rows, pictures = (
        sum(counts) for counts in zip((0, 0), *(counts_of(out, name) for name in shard_names(out)), strict=True)
    )
    if not pictures:
        raise UserError(f"{_shown(sources)}: none of its {rows} rows has a picture that can be read; {_reasons(out)}")
    releases = filter(None, (data_set_of(Path(source)) for source in sources))
    write_text(out / DATA_SETS_FILE, json.dumps([{**found, "context": "input"} for found in releases]) + "\n")
    counts = {"rows": rows, "pictures/adopted": pictures, "failed": rows - pictures}
    return Summary(counts={**counts, "shards": len(tasks) - damaged, "shards/damaged": damaged})


def _shown(sources: tuple[str, ...]) -> str:
    return ", ".join(public_text(source) for source in sources)


def _reasons(out: Path) -> str:
    """Why rows failed, the commonest first."""
    reasons: Counter[str] = Counter()
    for rows in iterate_shards(out, ["error_message"]):
        reasons.update(reason or "no reason given" for reason in rows["error_message"].to_pylist())
    return ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(8)) or "it is empty"
