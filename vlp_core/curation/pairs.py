"""One row a url with all its captions, in a seeded order, out of lists of any length.

A bucket sort: rows are first spread over files by the leading bits of their place in the order, then each file is
sorted and merged by itself, so that memory holds one bucket however long the lists are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.formats import is_list, unify
from vlp_core.curation.lists import SourceList
from vlp_core.errors import UserError
from vlp_core.files import wide
from vlp_core.identity import key_of, uid_of

_BUCKET_BYTES = 256 * 2**20
_MOST_BUCKETS = 256
_URL = r"^[A-Za-z][A-Za-z0-9+.\-]*:."  # whether its scheme may be fetched is the fetcher's business

# What the rows of a bucket have before the further columns: their place, and where in the lists they stood.
_PLACED = pa.schema(
    [
        ("place", pa.uint64()),
        ("uid", pa.string()),
        ("row", pa.int64()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("source", pa.string()),
    ]
)


@dataclass(kw_only=True)
class Tally:
    """What became of the rows of the lists."""

    rows: int = 0
    no_url: int = 0
    no_caption: int = 0
    urls: int = 0
    captions: int = 0


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Turns lists into tables of pairs; further columns of a `reserved` name get `list_` before it until it is free."""

    lists: Sequence[SourceList]
    seed: int
    needs_caption: bool
    reserved: frozenset[str]
    tally: Tally = field(default_factory=Tally)

    def tables(self, scratch: Path, progress: Callable[[int], None]) -> Iterator[pa.Table]:
        """Tables of uid, url, captions, source and further columns: pairs in order; `scratch` is an empty folder.

        Their offsets have 64 bits: where lists are long, the text of a bucket outgrows 32.
        """
        paths = self._spread(scratch, progress)
        for path in paths:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_stream(file).read_all()
                if table.num_rows:
                    yield self._merged(table)
            path.unlink()

    @cached_property
    def further(self) -> pa.Schema:
        """The columns that come along."""
        schemas = [
            pa.schema([item.with_name(self._names[item.name]) for item in source.further]) for source in self.lists
        ]
        return unify(schemas)

    @cached_property
    def _names(self) -> dict[str, str]:
        """What each further column is called among the pairs: the same for all lists, and never as another is."""
        given = {column.name for source in self.lists for column in source.further}
        ours = self.reserved.union(_PLACED.names)
        names = {}
        for name in given:
            names[name] = name if name not in ours else f"list_{name}"
            while names[name] != name and names[name] in given:
                names[name] = f"list_{names[name]}"
        return names

    def _spread(self, scratch: Path, progress: Callable[[int], None]) -> list[Path]:
        schema = wide(pa.schema([*_PLACED, *self.further]).empty_table()).schema
        bits = _bucket_bits(sum(source.size for source in self.lists))
        paths = [scratch / f"{bucket:03d}.arrow" for bucket in range(2**bits)]
        with ExitStack() as stack:
            writers = [stack.enter_context(pa.ipc.new_stream(str(path), schema)) for path in paths]
            for source in self.lists:
                for batch in source.batches():
                    table = self._placed(source, batch).select(schema.names).cast(schema)
                    bucket = (
                        table["place"].to_numpy() >> np.uint64(64 - bits) if bits else np.zeros(len(table), np.uint64)
                    )
                    order = np.argsort(bucket, kind="stable")
                    ends = np.searchsorted(bucket[order], np.arange(2**bits), side="right")
                    table = table.take(pa.array(order))
                    for writer, start, end in zip(writers, [0, *ends[:-1]], ends, strict=True):
                        writer.write_table(table.slice(start, end - start))
                    progress(self.tally.rows)
        return paths

    def _placed(self, source: SourceList, batch: pa.Table) -> pa.Table:
        """Rows that count, with their place in the order; a list of captions becomes as many rows."""
        first_row = self.tally.rows
        self.tally.rows += len(batch)
        url = source.urls(batch)
        valid = pc.fill_null(pc.match_substring_regex(url, _URL), False)
        self.tally.no_url += len(batch) - pc.sum(valid).as_py() if len(batch) else 0
        table = pa.table({"url": url, "row": np.arange(first_row, first_row + len(batch), dtype=np.int64)})
        for column in source.further:
            name = self._names[column.name]
            table = table.append_column(name, _cast(source, batch[column.name], self.further.field(name)))
        for column in self.further:
            if column.name not in table.column_names:
                table = table.append_column(column, pa.nulls(len(table), column.type))
        table = self._with_captions(source, batch, table, valid)
        uid, place = _places(table["url"], self.seed)
        table = table.append_column("uid", uid).append_column("place", place)
        return table.append_column("source", pa.repeat(source.name, len(table)))

    def _with_captions(self, source: SourceList, batch: pa.Table, table: pa.Table, valid: pa.ChunkedArray) -> pa.Table:
        if source.caption is None:
            table = table.append_column("caption", pa.nulls(len(table), pa.string()))
        else:
            captions = batch[source.caption]
            if is_list(captions.type):
                rows, captions = _exploded(captions)
                table, valid = table.take(rows), valid.take(rows)
            table = table.append_column("caption", source.text(source.caption, captions))
        table = table.filter(valid)
        self.tally.no_caption += table["caption"].null_count
        return table.filter(pc.is_valid(table["caption"])) if self.needs_caption else table

    def _merged(self, table: pa.Table) -> pa.Table:
        """Sort a bucket and merge the rows of a url."""
        table = table.take(pc.sort_indices(table, [("place", "ascending"), ("uid", "ascending"), ("row", "ascending")]))
        table = table.combine_chunks()
        uids = table["uid"]
        new = np.ones(len(table), dtype=bool)
        new[1:] = pc.not_equal(uids[1:], uids[:-1]).to_numpy()
        group = np.cumsum(new) - 1
        first = pa.array(np.flatnonzero(new))
        captions = _captions(table["caption"], group, len(first))
        self.tally.urls += len(first)
        self.tally.captions += len(captions.values)
        columns = {"uid": uids.take(first), "url": table["url"].take(first), "captions": captions}
        columns["source"] = table["source"].take(first)
        for name in table.column_names[len(_PLACED) :]:
            columns[name] = table[name].take(_first_valid(table[name], group, len(first)))
        return pa.table(columns)


def _bucket_bits(size: int) -> int:
    buckets = min(_MOST_BUCKETS, max(1, -(-size // _BUCKET_BYTES)))
    return (buckets - 1).bit_length()


def _places(urls: pa.ChunkedArray, seed: int) -> tuple[pa.Array, pa.Array]:
    """uid and place of each url; the one loop over rows in Python: pyarrow has no such hash."""
    uids = [uid_of(url) for url in urls.to_pylist()]
    places = np.fromiter((key_of(seed, uid) for uid in uids), dtype=np.uint64, count=len(uids))
    return pa.array(uids, pa.string()), pa.array(places)


def _cast(source: SourceList, column: pa.ChunkedArray, to: pa.Field) -> pa.ChunkedArray:
    try:
        return column.cast(to.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"{source.path}: column {to.name!r} ({column.type}) does not fit the other lists' ({to.type}); rename it"
        ) from error


def _exploded(lists: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Rows and captions of lists of captions; a row without any stays, with a null."""
    column = lists.combine_chunks()
    rows, captions = pc.list_parent_indices(column), pc.list_flatten(column)
    without = np.setdiff1d(np.arange(len(column)), rows.to_numpy())
    rows = np.concatenate([rows.to_numpy(), without])
    captions = pa.concat_arrays([captions, pa.nulls(len(without), captions.type)])
    order = pa.array(np.argsort(rows, kind="stable"))
    return pa.array(rows).take(order), captions.take(order)


def _captions(captions: pa.ChunkedArray, group: NDArray[np.int64], groups: int) -> pa.LargeListArray:
    """The unique captions of each group in the order in which they stand."""
    valid = pc.is_valid(captions).to_numpy()
    words = pc.dictionary_encode(captions.filter(pa.array(valid)).combine_chunks())
    owner = group[valid]
    if not len(owner):
        return pa.LargeListArray.from_arrays(pa.array(np.zeros(groups + 1, np.int64)), pa.array([], pa.large_string()))
    code = owner * len(words.dictionary) + words.indices.to_numpy()
    _, at = np.unique(code, return_index=True)
    at.sort()
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[at], minlength=groups))])
    return pa.LargeListArray.from_arrays(pa.array(offsets), words.dictionary.take(words.indices.take(pa.array(at))))


def _first_valid(column: pa.ChunkedArray, group: NDArray[np.int64], groups: int) -> pa.Array:
    """The row of each group's first value; null where it has none."""
    rows = np.flatnonzero(pc.is_valid(column).to_numpy())[::-1]
    first = np.full(groups, -1, dtype=np.int64)
    first[group[rows]] = rows  # rows run backwards: the first of a group is written last
    return pa.array(first, mask=first < 0)


def shards(tables: Iterator[pa.Table], size: int, schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in tables of `size` and this schema, the last one smaller."""
    rest: list[pa.Table] = []
    waiting = 0
    for table in tables:
        rest.append(table)
        waiting += len(table)
        if waiting < size:
            continue
        whole = pa.concat_tables(rest).combine_chunks()
        end = waiting - waiting % size
        # take, where a slice would keep offsets of 64 bits
        yield from (whole.take(np.arange(start, start + size)).cast(schema) for start in range(0, end, size))
        rest, waiting = [whole.take(np.arange(end, waiting))], waiting - end
    if waiting:
        yield pa.concat_tables(rest).cast(schema)
