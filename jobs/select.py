"""What was judged and deduplicated becomes a data set: evaluation pictures go, the rest gets a digest."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.hash import hashes_of
from vlp_core.curation.copies import EXACT, NEAR
from vlp_core.curation.near import looks_of
from vlp_core.curation.selection import first_in_order, matches, selection_digest
from vlp_core.curation.settings import Near, Select
from vlp_core.data.layout import COPIES, HASHES, SELECTION, SELECTION_FILE, read_shards
from vlp_core.errors import UserError
from vlp_core.files import wide, write_table, write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False
SUMMARY_FILE = "selection.json"
REMOVED_FILE = "removed.parquet"
REMOVED = pa.schema([("uid", pa.large_string()), ("evaluation_uid", pa.large_string()), ("reason", pa.string())])


def run(
    *,
    verdicts: Path,
    copies: Path,
    hashes: Path,
    evaluations: tuple[Path, ...],
    select: Select,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write selection.parquet (SELECTION by uid), selection.json and removed.parquet (REMOVED).

    `evaluations` are the hash folders of the evaluation sets: what stays goes if it, or any copy that it stands for,
    has the bytes or the looks of one of their pictures. UserError where nothing is left.
    """
    groups = wide(read_shards(copies, COPIES.names))
    seen = hashes_of(hashes, groups["uid"], copies)
    tracker.progress(0, len(groups), unit="pictures")
    removed = _removed(groups, seen, evaluations if select.decontaminate else (), select.near)
    stays = pc.is_null(groups["reason"])  # not by uid: a url that a folder holds twice is a copy of itself
    clean = pc.invert(pc.is_in(groups["kept_uid"], value_set=removed["uid"].combine_chunks()))
    chosen = groups.append_column("sha256", seen["sha256"]).filter(pc.and_(stays, clean))
    left = len(chosen)
    if select.at_most is not None and select.at_most < left:
        chosen = chosen.take(pa.array(first_in_order(chosen["uid"].to_pylist(), select.seed, select.at_most)))
    counts = _counts(verdicts, groups, removed, left=left, kept=len(chosen))
    if not len(chosen):
        raise UserError(_nothing_left(counts))
    weight = pa.array(np.ones(len(chosen), np.float32))
    columns = [chosen["uid"], weight, chosen["captions"], chosen["sha256"]]
    selection = pa.table(columns, schema=SELECTION).sort_by("uid")
    write_table(out / SELECTION_FILE, selection)
    write_table(out / REMOVED_FILE, removed)
    captions = pc.sum(pc.list_value_length(selection["captions"])).as_py()
    summary: dict[str, Any] = {
        "digest": selection_digest(selection),
        "rows": len(selection),
        "captions": captions,
        "removed": counts,
    }
    write_text(out / SUMMARY_FILE, json.dumps(summary, indent=2, sort_keys=True) + "\n")
    tracker.progress(len(groups), len(groups), unit="pictures")
    return Summary(
        counts={
            "pictures/selected": len(selection),
            "captions/selected": captions,
            **{f"removed/{reason}": count for reason, count in counts.items()},
        }
    )


def _removed(groups: pa.Table, seen: pa.Table, evaluations: Sequence[Path], near: Near) -> pa.Table:
    """The pictures that stay for any which an evaluation set has, the evaluation's picture, and exact or near."""
    watched = [wide(read_shards(folder, HASHES.names)) for folder in evaluations]
    if not watched:
        return REMOVED.empty_table()
    others = pa.concat_tables(watched).combine_chunks()
    found, same = matches(
        looks_of(seen), seen["sha256"].combine_chunks(), looks_of(others), others["sha256"].combine_chunks(), near
    )
    rows = np.flatnonzero(found >= 0)
    rows = rows[np.argsort(~same[rows], kind="stable")]  # of a group's matches, one by bytes is named first
    kept = groups["kept_uid"].take(pa.array(rows)).to_numpy(zero_copy_only=False).astype(str)
    _, first = np.unique(kept, return_index=True)
    rows = rows[first]
    columns = [
        groups["kept_uid"].take(pa.array(rows)),
        others["uid"].take(pa.array(found[rows])),
        pa.array(np.where(same[rows], EXACT, NEAR), pa.string()),
    ]
    return pa.table(columns, schema=REMOVED)


def _counts(verdicts: Path, groups: pa.Table, removed: pa.Table, *, left: int, kept: int) -> dict[str, int]:
    """How many fetched pictures are not in the selection, by what took them."""
    rules = read_shards(verdicts, ["rule"])["rule"]
    copies = pc.is_valid(groups["reason"])
    return {
        "rules": len(rules) - rules.null_count,
        "copies": pc.sum(copies, min_count=0).as_py(),
        "evaluation": len(removed),
        "at_most": left - kept,
    }


def _nothing_left(counts: dict[str, int]) -> str:
    took = f"rules took {counts['rules']}, copies {counts['copies']}, evaluation sets {counts['evaluation']}"
    if not any(counts.values()):
        return "the selection is empty: no picture was fetched; see the reasons in the download step"
    return (
        f"the selection is empty: of the fetched pictures, {took}; loosen the rules (see the funnel) or give more rows"
    )
