"""The formats of lists: their columns, and their rows in tables of bounded size."""

import json
from collections.abc import Callable, Iterator, Sequence
from os import SEEK_END
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from vlp_core.errors import UserError

_BATCH_ROWS = 65_536
_BLOCK_BYTES = 16 * 2**20
_TAIL_BYTES = 2**16


def plain(path: Path) -> Path:
    """The path without `.gz`."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def suffix_of(path: Path) -> str:
    """The ending that says the format."""
    return plain(path).suffix.lower()


def _parquet_schema(path: Path) -> pa.Schema:
    """Columns by what they hold: categories and views, with which little can be done, are text like any other."""
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    kinds = [(column, column.type) for column in pq.read_schema(path).remove_metadata()]
    kinds = [(column, kind.value_type if pa.types.is_dictionary(kind) else kind) for column, kind in kinds]
    return pa.schema([column.with_type(views.get(kind, kind)) for column, kind in kinds])


def _parquet(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=schema.names):
            yield pa.Table.from_batches([batch]).cast(schema)


def _csv_reader(path: Path, types: dict[str, pa.DataType]) -> pa_csv.CSVStreamingReader:
    tabs = suffix_of(path) == ".tsv"  # where a quotation mark is one like any other character
    parse = pa_csv.ParseOptions(
        delimiter="\t" if tabs else ",", quote_char=False if tabs else '"', newlines_in_values=not tabs
    )
    return pa_csv.open_csv(
        pa.input_stream(str(path), compression="detect"),
        read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=parse,
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,  # see `batches`, which can name the column
        ),
    )


def _csv_schema(path: Path) -> pa.Schema:
    """All columns as text: types guessed from a first block need not hold for the next."""
    with pa.input_stream(str(path), compression="detect") as stream:
        if not stream.read(1):
            return pa.schema([])
    with _csv_reader(path, {}) as reader:
        return pa.schema([(name, pa.string()) for name in reader.schema.names])


def _csv(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    with _csv_reader(path, {column.name: column.type for column in schema}) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _json_blocks(path: Path, schema: pa.Schema | None) -> Iterator[pa.Table]:
    """Whole lines by the block: each is parsed by itself, so that memory is bounded whatever the file's size."""
    with pa.input_stream(str(path), compression="detect") as stream:
        rest = b""
        while block := stream.read(_BLOCK_BYTES):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if lines.strip():
                yield _json_table(path, lines + newline, schema)
        if rest.strip():
            yield _json_table(path, rest, schema)


def _json_table(path: Path, lines: bytes, schema: pa.Schema | None) -> pa.Table:
    parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore") if schema else None
    read = pa_json.ReadOptions(use_threads=False, block_size=len(lines))  # one block: no line is cut
    try:
        return pa_json.read_json(pa.BufferReader(lines), read, parse)
    except pa.ArrowInvalid:
        try:
            rows = [json.loads(line) for line in lines.split(b"\n") if line.strip()]
        except ValueError:
            rows = []
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise
    names = schema.names if schema else list(dict.fromkeys(name for row in rows for name in row))
    kinds = [schema.field(name).type if schema else None for name in names]
    columns = [
        _mixed(path, name, [row.get(name) for row in rows], kind) for name, kind in zip(names, kinds, strict=True)
    ]
    return pa.table(columns, names=names)


def _mixed(path: Path, name: str, values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """A column as Arrow reads it, or as text where its values are of several types."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError) as error:
        if any(isinstance(value, list | dict) for value in values):
            raise UserError(
                f"{path}: column {name!r} has lists or objects in some rows only; make them alike"
            ) from error
        return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _json_schema(path: Path) -> pa.Schema:
    """The columns of all blocks; text where rows disagree on a type, and where Arrow sees a date in it."""
    found = unify([block.schema for block in _json_blocks(path, None)])
    return pa.schema([c.with_type(pa.string()) if pa.types.is_timestamp(c.type) else c for c in found])


def unify(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All columns of all schemas in the order they appear; numbers widen, any other disagreement becomes text."""
    types: dict[str, pa.DataType] = {}
    for column in (column for schema in schemas for column in schema):
        types[column.name] = _common(types.get(column.name, pa.null()), column.type)
    return pa.schema([(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()])


def _common(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    try:
        pair = [pa.schema([("x", left)]), pa.schema([("x", right)])]
        return pa.unify_schemas(pair, promote_options="permissive").field("x").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.string()


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


READERS: dict[str, Callable[[Path, pa.Schema], Iterator[pa.Table]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _json_blocks,
    ".ndjson": _json_blocks,
}
SCHEMAS: dict[str, Callable[[Path], pa.Schema]] = {
    ".parquet": _parquet_schema,
    ".csv": _csv_schema,
    ".tsv": _csv_schema,
    ".jsonl": _json_schema,
    ".ndjson": _json_schema,
}


def first_columns(path: Path) -> list[str]:
    """The names of a list's columns, at little cost: of lines of JSON, those of the first block of them."""
    if not is_json(path):
        return SCHEMAS[suffix_of(path)](path).names
    return next((block.column_names for block in _json_blocks(path, None)), [])


def is_json(path: Path) -> bool:
    """Whether a list is lines of JSON, whose columns nothing at its head says."""
    return SCHEMAS[suffix_of(path)] is _json_schema


def ends_whole(path: Path) -> bool:
    """Whether the last of some lines of JSON can be read by itself; of one that is longer, or compressed, as if so."""
    if path.suffix.lower() == ".gz":
        return True
    with open(path, "rb") as file:
        start = max(0, file.seek(0, SEEK_END) - _TAIL_BYTES)
        file.seek(start)
        before, _, line = file.read().rstrip().rpartition(b"\n")
    if not line or (start and not before):
        return True
    try:
        _json_table(path, line, None)
    except pa.ArrowInvalid:
        return False
    return True
