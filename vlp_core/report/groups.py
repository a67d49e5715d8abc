"""Copies as they were found: how large their groups are, and a few to look at side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.curation.copies import NEAR
from vlp_core.data.layout import shard_names
from vlp_core.files import wide

BY_MEANING = "by meaning"
_SIZES = (2, 3, 4, 5, 10, 100, 1000)
_MOST_SHOWN = 6


@dataclass(frozen=True)
class Group:
    """The picture that stays, and copies of it with why they are some; `size` counts all."""

    stays: str
    copies: tuple[tuple[str, str], ...]
    size: int


@dataclass(frozen=True)
class Groups:
    """Pictures that are copies by why; how many groups have each range of sizes; some groups."""

    reasons: dict[str, int]
    sizes: tuple[tuple[str, int], ...]
    largest: tuple[Group, ...]
    some: tuple[Group, ...]


def read_copies(folder: Path) -> pa.Table:
    """uid, kept_uid and reason of the pictures that are copies, a row group at a time; of those by meaning (which have
    no reason) that is the reason."""
    columns = ["uid", "kept_uid", "reason"]
    parts = []
    for name in shard_names(folder):
        with pq.ParquetFile(folder / f"{name}.parquet") as file:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, [name for name in columns if name in file.schema_arrow.names])
                if "reason" not in rows.column_names:
                    rows = rows.append_column("reason", pa.array([BY_MEANING] * len(rows), pa.large_string()))
                parts.append(wide(rows.filter(pc.is_valid(rows["reason"]))))
    if not parts:
        return pa.table({name: pa.array([], pa.large_string()) for name in columns})
    return pa.concat_tables(parts).combine_chunks()


def groups_of(copies: pa.Table, number: int) -> Groups:
    """The largest groups, and `number` of those with near copies, drawn evenly (else of any)."""
    reasons = {pair["values"]: pair["counts"] for pair in pc.value_counts(copies["reason"]).to_pylist()}
    kept = pc.dictionary_encode(copies["kept_uid"].combine_chunks())
    names, code = kept.dictionary, kept.indices.to_numpy()
    size = np.bincount(code, minlength=len(names)) + 1
    near = np.zeros(len(names), bool)
    near[code[pc.equal(copies["reason"], NEAR).to_numpy()]] = True
    by_name = pc.sort_indices(names).to_numpy() if len(names) else np.empty(0, np.int64)  # hashes: a fixed shuffle
    order = np.argsort(code, kind="stable")
    ends = np.cumsum(size - 1)

    def told(places: Sequence[int]) -> tuple[Group, ...]:
        return tuple(
            _group(copies, names[place].as_py(), order[ends[place] - size[place] + 1 : ends[place]]) for place in places
        )

    largest = by_name[np.argsort(-size[by_name], kind="stable")][: number // 3]
    rest = by_name[~np.isin(by_name, largest)]
    some = rest[np.argsort(~near[rest], kind="stable")][:number]
    return Groups(reasons, _sizes(size), told(largest.tolist()), told(some.tolist()))


def _group(copies: pa.Table, stays: str, rows: np.ndarray) -> Group:
    shown = copies.take(pa.array(rows[: _MOST_SHOWN - 1]))
    members = zip(shown["uid"].to_pylist(), shown["reason"].to_pylist(), strict=True)
    return Group(stays, tuple(members), len(rows) + 1)


def _sizes(size: np.ndarray) -> tuple[tuple[str, int], ...]:
    told = []
    for low, high in zip(_SIZES, (*_SIZES[1:], np.inf), strict=True):
        count = int(((size >= low) & (size < high)).sum())
        if count:
            name = f"{low}" if high == low + 1 else f"{low} or more" if high == np.inf else f"{low} to {high - 1:.0f}"
            told.append((name, count))
    return tuple(told)
