"""Rows of any number spread over files by bucket: what is joined a bucket at a time needs no more memory than one."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BUCKET_BYTES = 256 * 2**20
MOST_BUCKETS = 256


def bucket_count(size: int) -> int:
    """For so many bytes in memory, all buckets together."""
    return min(MOST_BUCKETS, max(1, -(-size // BUCKET_BYTES)))


class Buckets:
    """Tables of one schema, whose rows go to `count` files in `folder`; written in a `with`, then read."""

    def __init__(self, folder: Path, schema: pa.Schema, count: int) -> None:
        self.paths = [folder / f"{bucket:03d}.arrow" for bucket in range(count)]
        self._schema = schema

    def __enter__(self) -> Self:
        shutil.rmtree(self.paths[0].parent, ignore_errors=True)
        self.paths[0].parent.mkdir(parents=True)
        self._writers = [pa.ipc.new_stream(str(path), self._schema) for path in self.paths]
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()

    def add(self, table: pa.Table, bucket: NDArray[np.int64]) -> None:
        """Rows, with the bucket of each."""
        order = np.argsort(bucket, kind="stable")
        there, starts = np.unique(bucket[order], return_index=True)
        ends = np.append(starts, len(table))[1:]
        table = table.select(self._schema.names).cast(self._schema).take(pa.array(order))
        for number, start, end in zip(there, starts, ends, strict=True):
            self._writers[number].write_table(table.slice(start, end - start))


def read_bucket(path: Path) -> pa.Table:
    """All rows of a bucket, in the order in which they came, each column in one piece."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_stream(file).read_all().combine_chunks()


def evenly(weights: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """int64 [N]: the bucket of each of N runs of rows, so that runs stay together, in order, and buckets are alike."""
    ends = np.cumsum(weights)
    total = max(int(ends[-1]) if len(ends) else 0, 1)
    return np.minimum((ends - weights) * count // total, count - 1)


def column_or_null(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    """A column as a field has it; null throughout where there is none."""
    return table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)


def select_as(table: pa.Table, schema: pa.Schema, names: Sequence[str] | None = None) -> pa.Table:
    """The columns of a schema (or those `names` of it), null throughout where the table has none."""
    fields = [schema.field(name) for name in (names or schema.names)]
    return pa.table([column_or_null(table, field) for field in fields], schema=pa.schema(fields))
