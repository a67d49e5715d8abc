"""changes: what of a list is to be asked, after what the release before knows of it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.download_shard import CONDITIONS
from jobs.held import BEFORE, BEFORE_FOLDER, DOWN, IN_QUARANTINE, PICTURE, Held
from vlp_core.curation.pairs import shards
from vlp_core.data.layout import MAY_PASS, iterate_shards, shard_name, shard_names
from vlp_core.data.purged import TAKEN_URL, purged_files, sha256_as_made
from vlp_core.data.releases import QUARANTINE_FILE, Next, read_info
from vlp_core.data.spread import Buckets, bucket_count, read_bucket
from vlp_core.data.takedowns import Mask, Takedowns
from vlp_core.errors import UserError, nearest
from vlp_core.files import write_table, write_text
from vlp_core.identity import canonical_json, digest_of, uid_of
from vlp_core.tracker import Summary, Tracker
from vlp_core.uids import Words, find, names

VERSION = "1"
RESUMABLE = False

CHANGES_INFO = "changes.json"
_DAY_S = 86_400
_FEW = 0.5  # a list that keeps less of its links than this share was cut short, perhaps
_BEFORE_BYTES = 600  # of a row of BEFORE in memory, roughly
_OF_THE_BODY = ("not_an_image", "undecodable")  # classes of failures


def run(
    *,
    pairs: Path,
    next: Next,
    recheck_days: int,
    shard_size: int,
    out: Path,
    tracker: Tracker,
    takedowns: Path | None = None,
    let_in: tuple[str, ...] = (),
) -> Summary:
    """Write the pairs that are to be asked into `out`, shards as those of `pairs`, with what they are asked by.

    Asked is what is new, what failed in a way that may pass, and what was last asked `recheck_days` before the refresh
    began or earlier. `before/{shard}.parquet` has BEFORE of the same rows, and changes.json says whether there is
    `nothing` to be done: the list is the one before, nothing is to be asked, taken down, or let in.

    UserError where nothing of the release before is in the list, which is then another data set's, or `let_in` names
    what is not in quarantine.
    """
    looked = _Looked.read(pairs, next, recheck_days, takedowns)
    held, today, taken, at, ask = looked.held, looked.today, looked.taken, looked.at, looked.ask
    if len(held) and len(today) and (at < 0).all():
        raise UserError(
            f"--into {next.name}: taken by another data set: none of its {len(held):,} links is in this list; give "
            "another name"
        )
    stay = int((at >= 0).sum())
    if stay < len(held) * _FEW:
        tracker.warn(
            f"{len(held) - stay:,} of the {len(held):,} links of the release before are not in this list; where it was "
            "cut short, refresh with the whole list"
        )
    if next.folder is None and not ask.any():
        raise UserError(
            f"{next.title}: no picture would be left: all {len(today):,} links of the list were taken down; check the "
            "list and the takedowns"
        )
    _write(pairs, held, ask, at, shard_size, out)
    counts = {
        "links": len(today),
        "links/new": int(((at < 0) & ~taken).sum()),
        "links/left": len(held) - stay,
        "links/taken_down": int(taken.sum()),
        "asked": int(ask.sum()),
        "asked/again": int((ask & (at >= 0)).sum()),
    }
    listed = digest_of_list(pairs)
    told = {"nothing": looked.is_nothing(next, listed, let_in), "list": listed, "counts": counts}
    write_text(out / CHANGES_INFO, canonical_json(told) + "\n")
    tracker.progress(len(today), len(today), unit="rows")
    return Summary(counts=counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Looked:
    """A list of today beside the release before: the names of its links, which are taken down, where each stands in the
    release, and which are to be asked; of the release's rows those that are gone."""

    held: Held
    today: Words
    taken: Mask
    at: NDArray[np.int64]
    ask: Mask
    gone: Mask

    @staticmethod
    def read(pairs: Path, next: Next, recheck_days: int, takedowns: Path | None) -> "_Looked":
        held, down = Held.read(next.folder), Takedowns.read(takedowns)
        today, taken = _today(pairs, down)
        at = find(today, held.uids)
        gone = np.logical_or(*held.gone(down))
        ask = ~taken & np.append(_due(held, next, recheck_days) & ~gone, True)[at]
        return _Looked(held=held, today=today, taken=taken, at=at, ask=ask, gone=gone)

    def is_nothing(self, next: Next, listed: str, let_in: tuple[str, ...]) -> bool:
        """Whether there is nothing to be done for the list of that digest."""
        waiting = let_in_mask(self.held.quarantine(), let_in)
        same = next.folder is not None and read_info(next.folder)["list"] == listed
        return bool(same and not self.ask.any() and not self.gone.any() and not waiting.any())


def nothing_is_new(
    pairs: Path, next: Next, *, recheck_days: int, takedowns: Path | None, let_in: tuple[str, ...]
) -> bool:
    """Whether `run` would find nothing to be done. What it refuses of another list is not looked at."""
    listed = digest_of_list(pairs)
    if next.folder is None or read_info(next.folder)["list"] != listed:
        return False
    return _Looked.read(pairs, next, recheck_days, takedowns).is_nothing(next, listed, let_in)


def digest_of_list(pairs: Path) -> str:
    """Of pairs as they were made: what is purged of them makes them no other list."""
    purged = purged_files(pairs)
    return digest_of({name: sha256_as_made(pairs, f"{name}.parquet", purged) for name in shard_names(pairs)})


def read_changes(folder: Path) -> dict[str, Any]:
    """What `run` said."""
    return dict(json.loads((folder / CHANGES_INFO).read_text()))


def let_in_mask(quarantine: pa.Table, named: tuple[str, ...]) -> Mask:
    """bool [N]: which rows of QUARANTINE are named, by uid, url, sha256, or all of them by `all`.

    UserError for a name of none.
    """
    found = np.zeros(len(quarantine), dtype=bool)
    for name in named:
        columns = ((quarantine["uid"], name), (quarantine["uid"], uid_of(name)), (quarantine["sha256"], name))
        here = [pc.fill_null(pc.equal(column, text), False).to_numpy() for column, text in columns]
        mask = np.ones(len(quarantine), dtype=bool) if name == "all" else np.logical_or.reduce(here)
        if not mask.any() and name != "all":
            known = quarantine["url"].slice(0, 20).to_pylist()
            raise UserError(
                f"--let-in {name}: nothing in quarantine is called so{nearest(name, known) if known else ''}; the "
                f"{len(quarantine):,} that wait stand in {QUARANTINE_FILE} of the newest release"
            )
        found |= mask
    return found


def _today(pairs: Path, down: Takedowns) -> tuple[Words, Mask]:
    """The names of the list's links, and which are taken down: by their urls, or what a purge left in their place."""
    uids, taken = [np.empty((0, 2), np.uint64)], [np.empty(0, dtype=bool)]
    for table in iterate_shards(pairs, ["uid", "url"]):
        uids.append(names(table["uid"]))
        taken.append(down.of_urls(table["url"]) | pc.equal(table["url"], TAKEN_URL).to_numpy())
    return np.concatenate(uids), np.concatenate(taken)


def _due(held: Held, next: Next, recheck_days: int) -> Mask:
    """Which rows are asked again."""
    as_of = int(datetime.fromisoformat(next.as_of).timestamp())
    due = np.zeros(len(held), dtype=bool)
    for number, name in enumerate(held.shards):
        ledger = held.ledger(name, ["outcome", "last_asked"])
        asked = ledger["last_asked"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy() // 1000
        passes = pc.equal(ledger["outcome"], MAY_PASS).to_numpy()
        due[held.starts[number] : held.starts[number + 1]] = passes | (asked + recheck_days * _DAY_S <= as_of)
    return due & (held.codes != DOWN)


def _write(pairs: Path, held: Held, ask: Mask, at: NDArray[np.int64], size: int, out: Path) -> None:
    """The shards of what is asked, and what was before beside each."""
    rank = np.cumsum(ask) - 1
    again = np.flatnonzero(ask & (at >= 0))
    again = again[np.argsort(at[again])]
    count = bucket_count(len(again) * _BEFORE_BYTES)
    each = max(1, -(-int(ask.sum()) // (count * size))) * size  # whole shards
    scratch = out / "_before"
    schema = pa.schema([*BEFORE, ("rank", pa.int64())])
    with Buckets(scratch, schema, count) as buckets:
        quarantine = held.quarantine()
        for name, part, rows in held.parts(at[again]):
            known = held.before(name, rows, quarantine)
            buckets.add(known.append_column("rank", pa.array(rank[again[part]])), rank[again[part]] // each)
    bucket, known = -1, schema.empty_table()
    for number, table in enumerate(_asked(pairs, ask, size)):
        if number * size // each != bucket:
            bucket = number * size // each
            known = read_bucket(buckets.paths[bucket]).sort_by("rank")
        before = _aligned(known, number * size, len(table))
        standing = _stands_while_unchanged(before)
        for condition, known_as in zip(CONDITIONS, ("etag", "last_modified", "sha256"), strict=True):
            table = table.append_column(condition, pc.if_else(standing, before[known_as], None))
        write_table(out / BEFORE_FOLDER / f"{shard_name(number)}.parquet", before)
        write_table(out / f"{shard_name(number)}.parquet", table)
    shutil.rmtree(scratch)


def _stands_while_unchanged(before: pa.Table) -> pa.ChunkedArray:
    """Of which rows of BEFORE all stands while the body is the same: there is a picture, or the body is none. What was
    left out for another reason, an opt-out or a limit of ours, may be let in since, and then has to come again."""
    held = pc.is_in(before["status"], value_set=pa.array([PICTURE, IN_QUARANTINE], before["status"].type))
    no_picture = pc.is_in(before["failure"], value_set=pa.array(_OF_THE_BODY, before["failure"].type))
    return pc.or_(held, no_picture)


def _asked(pairs: Path, ask: Mask, size: int) -> Iterator[pa.Table]:
    """The pairs that are asked, in the order of the list, in shards."""
    listed = shard_names(pairs)
    schema = pq.read_schema(pairs / f"{listed[0]}.parquet")

    def some() -> Iterator[pa.Table]:
        start = 0
        for table in iterate_shards(pairs):
            yield table.filter(pa.array(ask[start : start + len(table)]))
            start += len(table)

    return shards(some(), size, schema)


def _aligned(known: pa.Table, start: int, length: int) -> pa.Table:
    """BEFORE of the rows of a shard, null where it is new."""
    ranks = known["rank"].to_numpy()
    first, end = np.searchsorted(ranks, [start, start + length])
    rows = np.full(length, -1, np.int64)
    rows[ranks[first:end] - start] = np.arange(first, end)
    return known.select(BEFORE.names).take(pa.array(rows, mask=rows < 0)).combine_chunks()
