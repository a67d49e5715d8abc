"""Tables without what is purged: rows that others are counted by stay, with nothing in them; the rest goes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.download_shard import CONDITIONS
from vlp_core.data.layout import FINAL
from vlp_core.data.purged import TAKEN_REASON, TAKEN_URL
from vlp_core.data.releases import TAKEN_DOWN
from vlp_core.files import replacing

Rows = NDArray[np.int64]

_UIDS, _OTHER = ("uid", "kept_uid"), "other_uid"
_BODIES = ("sha256", "earlier_sha256", "held_sha256", "before_sha256")  # of the pictures that a row is about
_ROWS = ("row", "kept_row", "left", "right")
_GROUPS = ("same", "look")
# What stays of a row that others are counted by, and what is said in it instead.
_STAYS = frozenset({"uid", "key", "source", "change", "attempts", "first_asked", "last_asked"})
_SAID = {"url": TAKEN_URL, "status": TAKEN_DOWN, "error_message": TAKEN_REASON, "outcome": FINAL}


@dataclass(frozen=True, kw_only=True, eq=False)
class Doomed:
    """What goes from a result: links whose pictures it has, those of pictures that these are compared with, links of
    lists and of any result, and places among its pictures.

    `own`, `others`, `listed` and `every` are uids, `bodies` the sha256 of all pictures that go; `rows` int64 [R],
    ascending, is None for a result that names no pictures by place.
    """

    own: pa.Array
    others: pa.Array
    listed: pa.Array
    every: pa.Array
    bodies: pa.Array
    rows: Rows | None = None

    def gone(self, table: pa.Table, names: Collection[str]) -> NDArray[np.bool_]:
        """bool [N]: which rows go of a table that has columns of these names, of which those that are `read_by` will
        do. A link may have a picture in one set, and another in the set that it is compared with."""
        links = _is_of_links(names)
        own, others = (self.listed, self.listed) if links else (self.own, self.others)
        found = np.zeros(len(table), dtype=bool)
        for name, uids in {**dict.fromkeys(_UIDS, own), _OTHER: others}.items():
            if name in names:
                found |= among(table[name], uids).to_numpy()
        if links and not _is_list(names):
            found |= among(table["uid"], self.every).to_numpy() & self._of_taken(table, names)
        return found

    def _of_taken(self, table: pa.Table, names: Collection[str]) -> NDArray[np.bool_]:
        """Whether what a row says is of a picture that goes, or may be: a link may show another one since."""
        bodies = [table[name] for name in _BODIES if name in names]
        if not bodies:
            return np.ones(len(table), dtype=bool)
        taken, said = np.zeros(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
        for body in bodies:
            taken |= among(body, self.bodies).to_numpy()
            said |= pc.is_valid(body).to_numpy()
        return taken if {*CONDITIONS} & set(names) else taken | ~said


def read_by(names: Collection[str]) -> list[str]:
    """The columns by which the rows of a table are known to go."""
    uids = [name for name in (*_UIDS, _OTHER) if name in names]
    return [*uids, *(name for name in _BODIES if name in names and uids)]


def purge_table(path: Path, doomed: Doomed, staged: Path) -> bool:
    """Write a Parquet file without what is doomed to `staged`; whether there was any of it.

    Read and written a row group at a time, as they are. OSError and Arrow's errors for what cannot be read.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = set(schema.names)
        remap = _Remap.of(names, doomed.rows)
        if not remap and not _has_any(file, doomed, names):
            return False
        groups = (file.read_row_group(number) for number in range(file.num_row_groups))
        changed = (_purged(group, doomed, remap) for group in groups)
        codec = file.metadata.row_group(0).column(0).compression if file.num_row_groups else "zstd"
        plain = codec == "UNCOMPRESSED"  # encoded pictures do not compress
        with (
            replacing(staged) as temporary,
            pq.ParquetWriter(
                temporary, schema, compression="none" if plain else "zstd", use_dictionary=not plain
            ) as out,
        ):
            for table in changed:
                out.write_table(table, row_group_size=max(1, len(table)))
    return True


def uids_in(path: Path) -> Iterator[pa.ChunkedArray]:
    """The uids of a result's own pictures that a file names, a column of a row group after the other."""
    with pq.ParquetFile(path) as file:
        here = [name for name in _UIDS if name in file.schema_arrow.names]
        for number in range(file.num_row_groups if here else 0):
            yield from file.read_row_group(number, columns=here).columns


def names_any(path: Path, uids: pa.Array) -> bool:
    """Whether a file names one of these uids as those of a result's own pictures."""
    return any(pc.any(among(column, uids), min_count=0).as_py() for column in uids_in(path))


def _has_any(file: pq.ParquetFile, doomed: Doomed, names: Collection[str]) -> bool:
    columns = read_by(names)
    groups = (file.read_row_group(number, columns=columns) for number in range(file.num_row_groups if columns else 0))
    return any(doomed.gone(table, names).any() for table in groups)


def among(column: pa.ChunkedArray | pa.Array, uids: pa.Array) -> pa.ChunkedArray:
    """bool [N]: which of a column's texts are among these."""
    return pc.is_in(column, value_set=uids.cast(column.type), skip_nulls=True)


def _is_of_links(names: Collection[str]) -> bool:
    """Lists and ledgers, whose rows are of links, whatever picture these showed when."""
    return not {"key", "image"} & set(names) and bool({"url", "outcome"} & set(names))


def _is_list(names: Collection[str]) -> bool:
    """Whether its rows are of a list as it was given, and say nothing of a picture that came."""
    return {"url", "captions"} <= set(names) and not {"outcome", *CONDITIONS} & set(names)


def _stays_as_row(names: Collection[str]) -> bool:
    """Whether other tables count by the rows of this one: shards of pairs and of pictures, and their ledgers."""
    return "before_file" not in names and bool({"url", "outcome", "image"} & set(names))


def _purged(table: pa.Table, doomed: Doomed, remap: "_Remap | None") -> pa.Table:
    gone = doomed.gone(table, table.column_names)
    if _stays_as_row(table.column_names):
        return _emptied(table, pa.array(gone))
    if remap is not None:
        table, lost = remap(table)
        gone |= lost
    return table.filter(pa.array(~gone))


def _emptied(table: pa.Table, gone: pa.Array) -> pa.Table:
    """The same rows; of those that go, their names alone are left."""
    for number, field in enumerate(table.schema):
        if field.name in _STAYS:
            continue
        said = _SAID.get(field.name) if pa.types.is_string(field.type) else None
        nothing = pa.scalar([] if pa.types.is_list(field.type) and field.name == "captions" else said, field.type)
        table = table.set_column(number, field, pc.if_else(gone, nothing, table[field.name]))
    return table


class _Remap:
    """Places among the pictures, after some of them went: -1 for what is gone."""

    def __init__(self, removed: Rows) -> None:
        self._removed = removed

    @staticmethod
    def of(names: Collection[str], removed: Rows | None) -> "_Remap | None":
        counts = removed is not None and bool({*_ROWS} & set(names)) and not {*_GROUPS} & set(names)
        return _Remap(removed) if counts and removed is not None else None

    def places(self, old: Rows) -> Rows:
        """int64 [N]"""
        before = np.searchsorted(self._removed, old)
        return np.where(np.isin(old, self._removed), -1, old - before)

    def __call__(self, table: pa.Table) -> tuple[pa.Table, NDArray[np.bool_]]:
        lost = np.zeros(len(table), dtype=bool)
        for name in (name for name in _ROWS if name in table.column_names):
            places = self.places(table[name].to_numpy().astype(np.int64))
            lost |= places < 0
            field = table.schema.field(name)
            table = table.set_column(table.column_names.index(name), field, pa.array(places, field.type))
        return table, lost


def purge_alike(groups: Path, pairs: Path, removed: Rows, staged: tuple[Path, Path]) -> None:
    """`vlp_core.curation.copies.Alike` without some pictures: whoever was named by one of them gets another's name."""
    with pq.ParquetFile(groups) as file:
        table = file.read()
    kept = np.ones(len(table), dtype=bool)
    kept[removed] = False
    looks = np.full(len(table), -1, np.int64)
    columns = {}
    for name in _GROUPS:
        old, first, group = np.unique(table[name].to_numpy()[kept], return_index=True, return_inverse=True)
        columns[name] = first[group]
        if name == "look":
            looks[old] = first
    table = table.filter(pa.array(kept))
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
    with pq.ParquetFile(pairs) as file:
        near = file.read()
    ends = {name: looks[near[name].to_numpy()] for name in ("left", "right")}
    there = pa.array((ends["left"] >= 0) & (ends["right"] >= 0))
    near = pa.table({name: pa.array(places, pa.int32()) for name, places in ends.items()}).filter(there)
    for path, made in zip(staged, (table, near), strict=True):
        with replacing(path) as temporary:
            pq.write_table(made, temporary, compression="zstd")
