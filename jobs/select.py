"""What was judged and deduplicated becomes a data set: evaluation pictures go, the rest gets a digest."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.hashed import check_pictures, other_pictures
from jobs.matches import MATCHES, MATCHES_FILE
from jobs.passed import Passed
from vlp_core.curation.balance import balance
from vlp_core.curation.copies import EXACT, Rows
from vlp_core.curation.selection import captions_of, first_in_order, order_by_uid, selection_digest
from vlp_core.curation.settings import Select
from vlp_core.data.layout import COPIES, SELECTION, SELECTION_FILE, SUMMARY_FILE, iterate_shards, read_shards
from vlp_core.errors import UserError
from vlp_core.files import write_table, write_text
from vlp_core.tracker import Summary, Tracker
from vlp_core.uids import hash_texts

VERSION = "2"
RESUMABLE = False
REMOVED_FILE = "removed.parquet"
_TEXT = pa.large_string()
REMOVED = pa.schema([("uid", _TEXT), ("against", pa.string()), ("other_uid", _TEXT), ("reason", pa.string())])


def run(
    *,
    verdicts: Path,
    copies: Path,
    hashes: Path,
    evaluations: tuple[Path, ...],
    select: Select,
    out: Path,
    tracker: Tracker,
    against: tuple[Path, ...] = (),
    semantic: Path | None = None,
) -> Summary:
    """Write selection.parquet (SELECTION by uid), selection.json and removed.parquet (REMOVED).

    `evaluations` and `against` are what the fetched pictures have in common (MATCHES) with evaluation sets and with
    other data sets: what stays goes if it, or any copy that it stands for, is among that. `semantic` has the rows of
    those that go since others show the same. What is left is balanced, then cut to `at_most`. UserError where nothing
    is left.
    """
    passed = Passed.read(verdicts)
    tracker.progress(0, len(passed.rows), unit="pictures")
    groups = read_shards(copies, COPIES.names)
    kept = np.arange(passed.fetched)
    kept[groups["row"].to_numpy()] = groups["kept_row"].to_numpy()
    removed = _removed(kept, passed, (*evaluations, *against), verdicts)
    stays = kept[passed.rows] == passed.rows
    stays[passed.places(removed["row"].to_numpy())] = False
    alike = np.empty(0, np.int64) if semantic is None else read_shards(semantic, ["row"])["row"].to_numpy()
    shown = int(stays[passed.places(alike)].sum())
    stays[passed.places(alike)] = False
    chosen = np.flatnonzero(stays)
    selection = _selection(passed, chosen, passed.places(kept[passed.rows]), hashes, verdicts)
    if select.balance is not None:
        selection = balance(selection, select.balance, select.balance_t, select.seed, out, tracker)
    left = len(selection)
    if select.at_most is not None and select.at_most < left:
        selection = selection.take(pa.array(first_in_order(selection["uid"], select.seed, select.at_most)))
    counts = {
        "rules": passed.fetched - len(passed.rows),
        "copies": len(groups),
        "evaluation": len(removed),
        **({} if semantic is None else {"semantic": shown}),
        **({} if select.balance is None else {"balance": len(chosen) - left}),
        "at_most": left - len(selection),
    }
    if not len(selection):
        raise UserError(_nothing_left(counts))
    write_table(out / SELECTION_FILE, selection)
    write_table(out / REMOVED_FILE, removed.select(REMOVED.names).cast(REMOVED))
    captions = pc.sum(pc.list_value_length(selection["captions"])).as_py()
    summary: dict[str, Any] = {
        "digest": selection_digest(selection),
        "rows": len(selection),
        "captions": captions,
        "removed": counts,
    }
    write_text(out / SUMMARY_FILE, json.dumps(summary, indent=2, sort_keys=True) + "\n")
    tracker.progress(len(passed.rows), len(passed.rows), unit="pictures")
    return Summary(
        counts={
            "pictures/selected": len(selection),
            "captions/selected": captions,
            **{f"removed/{reason}": count for reason, count in counts.items()},
        }
    )


def _removed(kept: Rows, passed: Passed, watched: Sequence[Path], verdicts: Path) -> pa.Table:
    """The pictures that stay for any which a watched set has: MATCHES of one of it, with the row that stays.

    One by bytes is named first, then as the sets stand, then by list order.
    """
    tables = []
    for folder in watched:
        check_pictures(folder, passed.fetched, passed.digest, verdicts)
        tables.append(pq.read_table(folder / MATCHES_FILE, schema=MATCHES))
    found = pa.concat_tables([MATCHES.empty_table(), *tables])
    rows = found["row"].to_numpy()
    at = np.flatnonzero(passed.has(rows))
    by_bytes = pc.equal(found["reason"], EXACT).to_numpy()[at]
    at = at[np.argsort(~by_bytes, kind="stable")]
    stays, first = np.unique(kept[rows[at]], return_index=True)
    found = found.take(pa.array(at[first])).set_column(0, "row", pa.array(stays))
    return found.append_column("uid", passed.uids.take(pa.array(passed.places(stays))))


def _selection(passed: Passed, chosen: Rows, kept: Rows, hashes: Path, verdicts: Path) -> pa.Table:
    """SELECTION by uid of the chosen places; `kept` is the place that stays for each."""
    chosen_hashes = _sha256(hashes, passed, chosen, verdicts)
    order = order_by_uid(passed.uids.take(pa.array(chosen)))
    places = chosen[order]
    columns = [
        passed.uids.take(pa.array(places)),
        pa.array(np.ones(len(places), np.float32)),
        captions_of(places, passed.captions, kept),
        chosen_hashes.take(pa.array(order)),
    ]
    return pa.table(columns, schema=SELECTION)


def _sha256(hashes: Path, passed: Passed, chosen: Rows, verdicts: Path) -> pa.LargeStringArray:
    """Of the chosen places, in their order."""
    rows, parts, whole, start = passed.rows[chosen], [], hashlib.sha256(), 0
    for table in iterate_shards(hashes, ["uid", "sha256"]):
        hash_texts(whole, table["uid"])
        first, last = np.searchsorted(rows, [start, start + len(table)])
        parts.append(table["sha256"].take(pa.array(rows[first:last] - start)).cast(pa.large_string()))
        start += len(table)
    if (start, whole.hexdigest()) != (passed.fetched, passed.digest):
        raise other_pictures(hashes, verdicts)
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.large_string()).combine_chunks()


def _nothing_left(counts: dict[str, int]) -> str:
    others = f"evaluation sets and --dedup.against {counts['evaluation']}"
    took = f"rules took {counts['rules']}, copies {counts['copies']}, {others}"
    if "balance" in counts:
        took += f", balancing {counts['balance']} (of pairs, those without an entry)"
    if not any(counts.values()):
        return "the selection is empty: no picture was fetched; see the reasons in the download step"
    return (
        f"the selection is empty: of the fetched pictures, {took}; loosen the rules (see the funnel) or give more rows"
    )
