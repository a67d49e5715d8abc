"""Balancing over a list of entries (MetaCLIP: Xu et al., 2023, arXiv:2309.16671, section 3.3 and algorithm 1).

A pair is a picture with one of its captions. An entry that more than t pairs match keeps each of them with probability
t / count, one that fewer match keeps all; a pair stays if any of its entries keeps it, so pairs without an entry go.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.curation.entries import BATCH, Bools, Counts, Entries, read_entries
from vlp_core.files import write_table
from vlp_core.identity import key_of
from vlp_core.tracker import Tracker

BALANCE_FILE = "balance.parquet"
_SHOWN = 20  # entries at either end


@dataclass(frozen=True)
class Balanced:
    """Which captions stay [captions]; the pairs that match each entry, before and after; how many match any."""

    kept: Bools
    before: Counts
    after: Counts
    matched: int


def balanced(table: pa.Table, entries: pa.LargeStringArray, t: int, seed: int) -> Balanced:
    """Balance the captions of a table with a picture's uid and captions a row."""
    known = Entries(entries)
    found = known.found(table)
    before = sum((some.counts(len(known)) for some in found), np.zeros(len(known), np.int64))
    chances = np.minimum(1.0, t / np.maximum(before, 1))
    kept = [known.drawn(some, chances, key_of("balance", seed)) for some in found]
    after = sum(
        (some.counts(len(known), stays) for some, stays in zip(found, kept, strict=True)), np.zeros_like(before)
    )
    return Balanced(np.concatenate([np.zeros(0, bool), *kept]), before, after, sum(some.any() for some in found))


def balance(table: pa.Table, path: Path, t: int, seed: int, out: Path, tracker: Tracker) -> pa.Table:
    """The rows with the captions that stay; a picture goes with its last. Writes balance.parquet: the entries that
    pairs match, with how many before and after, the most matched first."""
    entries = read_entries(path)
    found = balanced(table, entries, t, seed)
    counts = pa.table({"entry": entries, "before": found.before, "after": found.after})
    counts = counts.filter(pc.greater(counts["before"], 0))
    counts = counts.sort_by([("before", "descending"), ("entry", "ascending")])
    write_table(out / BALANCE_FILE, counts)
    tracker.table("balance", _heads_and_tails(counts, _captions(table), found, t, len(entries)))
    return _kept_rows(table, found.kept)


def _heads_and_tails(counts: pa.Table, pairs: int, found: Balanced, t: int, entries: int) -> dict[str, list[Any]]:
    """Sums, then the most and the least matched entries: what, and how many before and after."""
    before, after = (counts[name].to_numpy() for name in ("before", "after"))
    kept = int(found.kept.sum())
    lines = [
        ("pairs", pairs, kept),
        ("pairs with an entry", found.matched, kept),
        (f"entries of more than {t} pairs", int((before > t).sum()), int((after > t).sum())),
        (f"entries of 1 to {t} pairs", int((before <= t).sum()), int(((after > 0) & (after <= t)).sum())),
        ("entries of no pair", entries - len(before), entries - int((after > 0).sum())),
    ]
    shown = counts if len(counts) <= 2 * _SHOWN else pa.concat_tables([counts[:_SHOWN], counts[-_SHOWN:]])
    lines += [(f"'{row['entry']}'", row["before"], row["after"]) for row in shown.to_pylist()]
    return {
        name: list(column) for name, column in zip(("what", "before", "after"), zip(*lines, strict=True), strict=True)
    }


def _captions(table: pa.Table) -> int:
    return pc.sum(pc.list_value_length(table["captions"])).as_py() or 0


def _kept_rows(table: pa.Table, kept: Bools) -> pa.Table:
    """A few rows at a time: the captions of all are not to be held three times."""
    batches, start = [], 0
    for batch in table.to_batches(max_chunksize=BATCH):
        captions = batch["captions"]
        owner = pc.list_parent_indices(captions).to_numpy()
        mine = kept[start : start + len(owner)]
        start += len(owner)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[mine], minlength=len(batch)))])
        texts = pc.list_flatten(captions).filter(pa.array(mine))
        left = type(captions).from_arrays(pa.array(offsets, captions.offsets.type), texts)
        rows = batch.set_column(batch.schema.get_field_index("captions"), batch.schema.field("captions"), left)
        batches.append(rows.filter(pa.array(np.diff(offsets) > 0)))
    return pa.Table.from_batches(batches, table.schema)
