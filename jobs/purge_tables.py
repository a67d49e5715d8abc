"""Tables without what is purged: rows that others are counted by stay, with nothing in them; the rest goes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.purge_kinds import KEPT_UID, OTHER_UID, Kind, kind_of
from vlp_core.data.layout import FINAL
from vlp_core.data.purged import TAKEN_REASON, TAKEN_URL
from vlp_core.data.releases import TAKEN_DOWN
from vlp_core.files import replacing

Rows = NDArray[np.int64]

_ROWS = ("row", "kept_row", "left", "right")
_GROUPS = ("same", "look")
# What is said instead in a row that stays.
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

    def gone(self, table: pa.Table, kind: Kind) -> NDArray[np.bool_]:
        """bool [N]: which rows go of a table, of whose columns those that are `read_by` will do. A link may have a
        picture in one set, and another in the set that it is compared with."""
        if kind.of_links:
            listed = _among(table["uid"], self.listed)
            return listed if kind.shown is None else listed | self._is_of_taken(table, kind.shown)
        found = np.zeros(len(table), dtype=bool)
        for name in (name for name in kind.uids if name in table.column_names):
            found |= _among(table[name], self.others if name == OTHER_UID else self.own)
        return found

    def gone_before(self, table: pa.Table, kind: Kind) -> NDArray[np.bool_]:
        """bool [N]: in which rows the picture that was there before goes."""
        return self._is_of_taken(table, kind.before[:1]) if kind.before else np.zeros(len(table), dtype=bool)

    def _is_of_taken(self, table: pa.Table, bodies: Collection[str]) -> NDArray[np.bool_]:
        """Whether one of these pictures of a row's link goes, or may, where it does not say which: a link may show
        another one since."""
        taken = np.full(len(table), not bodies)
        for name in bodies:
            taken |= _among(table[name], self.bodies)
        return taken & _among(table["uid"], self.every)


def read_by(kind: Kind, names: Collection[str]) -> list[str]:
    """The columns by which the rows of a table are known to go."""
    return [name for name in (*kind.uids, *(kind.shown or ()), *kind.before[:1]) if name in names]


def purge_table(path: Path, doomed: Doomed, staged: Path) -> bool:
    """Write a Parquet file without what is doomed to `staged`; whether there was any of it.

    Read and written a row group at a time, as they are. OSError and Arrow's errors for what cannot be read.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        kind, remap = kind_of(path, schema.names), _Remap.of(schema.names, doomed.rows)
        if not remap and not _has_any(file, doomed, kind):
            return False
        groups = (file.read_row_group(number) for number in range(file.num_row_groups))
        changed = (_purged(group, doomed, kind, remap) for group in groups)
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
        here = [name for name in ("uid", KEPT_UID) if name in file.schema_arrow.names]
        for number in range(file.num_row_groups if here else 0):
            yield from file.read_row_group(number, columns=here).columns


def names_any(path: Path, uids: pa.Array) -> bool:
    """Whether a file names one of these uids as those of a result's own pictures."""
    return any(pc.any(among(column, uids), min_count=0).as_py() for column in uids_in(path))


def _has_any(file: pq.ParquetFile, doomed: Doomed, kind: Kind) -> bool:
    columns = read_by(kind, file.schema_arrow.names)
    groups = (file.read_row_group(number, columns=columns) for number in range(file.num_row_groups if columns else 0))
    return any((doomed.gone(table, kind) | doomed.gone_before(table, kind)).any() for table in groups)


def among(column: pa.ChunkedArray | pa.Array, uids: pa.Array) -> pa.ChunkedArray:
    """bool [N]: which of a column's texts are among these."""
    return pc.is_in(column, value_set=uids.cast(column.type), skip_nulls=True)


def _among(column: pa.ChunkedArray, texts: pa.Array) -> NDArray[np.bool_]:
    return among(column, texts).to_numpy()


def _purged(table: pa.Table, doomed: Doomed, kind: Kind, remap: "_Remap | None") -> pa.Table:
    gone = doomed.gone(table, kind)
    if kind.stays:
        return _emptied(table, gone, set(table.column_names) - kind.stays)
    table = _emptied(table, doomed.gone_before(table, kind), kind.before)
    if remap is not None:
        table, lost = remap(table)
        gone |= lost
    return table.filter(pa.array(~gone))


def _emptied(table: pa.Table, gone: NDArray[np.bool_], names: Collection[str]) -> pa.Table:
    """The same rows; those that go have nothing in these columns."""
    for name in names:
        number, field = table.column_names.index(name), table.schema.field(name)
        said = _SAID.get(name) if pa.types.is_string(field.type) else None
        nothing = pa.scalar([] if pa.types.is_list(field.type) and name == "captions" else said, field.type)
        table = table.set_column(number, field, pc.if_else(pa.array(gone), nothing, table[name]))
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
