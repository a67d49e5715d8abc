"""Data that is there already becomes images without copying a picture: rows, identities, and where each one lies."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from jobs.adopt_shard import Task, adopt_shard, counts_of, has_column_named
from jobs.shards import map_shards
from vlp_core.data.adopted import PLACES
from vlp_core.data.layout import iterate_shards, shard_name, shard_names
from vlp_core.data.parts import Part, check, digest, parts_of
from vlp_core.data.releases import DATA_SETS_FILE, data_set_of
from vlp_core.data.settings import Adopt
from vlp_core.data.store import is_url, parted
from vlp_core.errors import UserError, nearest, public_text
from vlp_core.files import remove_leftovers, write_text
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "2"
RESUMABLE = True
_PLAIN = Adopt()


def run(
    *,
    sources: tuple[str, ...],
    listing: str,
    caption_names: tuple[str, ...],
    out: Path,
    tracker: Tracker,
    made: tuple[Path, ...] = (),
    caption_column: str | None = None,
    recognise: bool = False,
    adopt: Adopt = _PLAIN,
) -> Summary:
    """Write an images folder over the shards of `sources` (folders, tars, patterns; paths or urls), then of `made`.

    `listing` is the digest of the shards of `sources`; `made` are images folders of other steps. Shards that are there
    are kept. UserError where a shard is damaged (unless those are skipped), a source has changed since it was listed,
    none of its shards has `caption_column` (unless captions are then to be recognised), or no picture is left.

    A source that another run adopted says where its pictures lie: that is read only with `adopt.follow`, or where the
    source lies in the root of this run, two folders above `out`.
    """
    given = [part for source in sources for part in parts_of(source)]
    if digest(given) != listing:
        raise UserError(f"{_shown(sources)}: changed while this was being planned; start again once it is whole")
    _check_followed(given, None if adopt.follow else out.parents[1])
    parts = [*given, *(part for folder in made for part in parts_of(str(folder), below=False))]
    check(parts)
    remove_leftovers(out, out / PLACES)
    tasks = [
        Task(
            part=part,
            name=shard_name(number),
            out=out,
            caption_names=caption_names,
            caption_column=caption_column if number < len(given) else None,
            skip=adopt.skip_damaged,
            decode=adopt.decode and number < len(given),
        )
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
    if caption_column is not None and not recognise and not made:  # of lists that have it
        _check_column(caption_column, sources, out)
    releases = filter(None, (data_set_of(Path(source)) for source in sources))
    write_text(out / DATA_SETS_FILE, json.dumps([{**found, "context": "input"} for found in releases]) + "\n")
    counts = {"rows": rows, "pictures/adopted": pictures, "failed": rows - pictures}
    return Summary(counts={**counts, "shards": len(tasks) - damaged, "shards/damaged": damaged})


def _check_followed(parts: Sequence[Part], root: Path | None) -> None:
    """UserError for folders outside `root`, where one is given, that say that their pictures lie elsewhere.

    Whoever wrote such a folder names any file or address, which would be read with the rights of this user.
    """
    for folder in dict.fromkeys(parted(parted(part.pictures)[0])[0] for part in parts if part.is_elsewhere):
        said = f"{public_text(folder)}: says that its pictures lie elsewhere"
        if is_url(folder):
            raise UserError(f"{said}, which is followed from local folders alone; give what it was made of")
        if root is not None and not Path(folder).resolve().is_relative_to(root.resolve()):
            raise UserError(f"{said}; give what it was made of, or --adopt.follow if you trust whoever wrote it")


def _check_column(column: str, sources: tuple[str, ...], out: Path) -> None:
    names = shard_names(out)
    if not any(has_column_named(out, name) for name in names):
        known = pq.read_schema(out / f"{names[0]}.parquet").names
        raise UserError(f"{_shown(sources)}: no column {column!r} for the caption{nearest(column, known)}")


def _shown(sources: tuple[str, ...]) -> str:
    return ", ".join(public_text(source) for source in sources)


def _reasons(out: Path) -> str:
    """Why rows failed, the commonest first."""
    reasons: Counter[str] = Counter()
    for rows in iterate_shards(out, ["error_message"]):
        reasons.update(reason or "no reason given" for reason in rows["error_message"].to_pylist())
    return ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(8)) or "it is empty"
