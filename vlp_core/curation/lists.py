"""Lists of (url, caption): finding their files, their columns, and reading them in batches of bounded size."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from vlp_core.curation.settings import Ingest
from vlp_core.errors import UserError, nearest

URL_NAMES = ("url", "image_url", "img_url", "uri", "link")
CAPTION_NAMES = ("caption", "captions", "text", "texts", "alt", "alt_text", "alttext", "title", "description")
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")

_BATCH_ROWS = 65_536
_BLOCK_BYTES = 16 * 2**20
_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)


@dataclass(frozen=True, kw_only=True)
class SourceList:
    """A file of a list: where it is, the schema of its rows, and which columns are which."""

    path: Path
    schema: pa.Schema
    url: str
    caption: str | None

    @property
    def name(self) -> str:
        """What its rows have as `source`."""
        return _plain(self.path).stem

    @property
    def size(self) -> int:
        """Bytes of its rows in memory, roughly."""
        packed = self.path.suffix == ".gz" or _suffix(self.path) == ".parquet"
        return self.path.stat().st_size * (4 if packed else 1)

    @property
    def further(self) -> list[pa.Field]:
        return [column for column in self.schema if column.name not in (self.url, self.caption)]

    def batches(self) -> Iterator[pa.Table]:
        """Its rows in order; UserError where they cannot be read."""
        try:
            yield from _READERS[_suffix(self.path)](self.path, self.schema)
        except _UNREADABLE as error:
            raise _unreadable(self.path, error) from error


def files_of(sources: Sequence[Path]) -> list[Path]:
    """The files of lists and of folders of lists, in the order given and by name inside a folder."""
    files: list[Path] = []
    for source in sources:
        if not source.exists():
            raise UserError(
                f"{source}: no such file or folder; give a list of urls and captions ({', '.join(SUFFIXES)})"
            )
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if path.is_file() and _suffix(path) in SUFFIXES)
            if not inside:
                raise UserError(f"{source}: no lists in this folder; it needs files that end in {', '.join(SUFFIXES)}")
            files += inside
        else:
            files.append(source)
    if not files:
        raise UserError(f"no list given; name one or more files of urls and captions ({', '.join(SUFFIXES)})")
    return files


def open_list(path: Path, ingest: Ingest) -> SourceList:
    """Look at a list's columns; UserError where its format or columns are not known or it cannot be read."""
    suffix = _suffix(path)
    if suffix not in _READERS:
        raise UserError(
            f"{path}: unknown format {path.suffix or 'without an ending'!r}; known: {', '.join(SUFFIXES)} (and .gz)"
        )
    try:
        schema = _SCHEMAS[suffix](path)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if not schema.names:
        raise UserError(f"{path}: an empty list; it needs rows with a url and a caption")
    if twice := {name for name in schema.names if schema.names.count(name) > 1}:
        raise UserError(f"{path}: more than one column is named {min(twice)!r}; rename all but one")
    url = _column(path, schema.names, ingest.url_column, URL_NAMES, "url")
    if url is None:
        raise _no_column(path, schema.names, URL_NAMES, "url")
    caption = _column(path, schema.names, ingest.caption_column, CAPTION_NAMES, "caption")
    if caption is None and ingest.needs_caption:
        raise _no_column(path, schema.names, CAPTION_NAMES, "caption")
    return SourceList(path=path, schema=schema, url=url, caption=caption)


def _column(path: Path, names: list[str], wanted: str | None, known: Sequence[str], what: str) -> str | None:
    if wanted is not None:
        if wanted not in names:
            raise UserError(f"{path}: no column {wanted!r} for the {what}{nearest(wanted, names)}")
        return wanted
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in known if name in by_lower), None)


def _no_column(path: Path, names: list[str], known: Sequence[str], what: str) -> UserError:
    hint = nearest(known[0], names)
    suggestion = hint if "did you mean" in hint else ""
    return UserError(
        f"{path}: no {what} column; its columns are {', '.join(names)}; name one with {what}-column{suggestion}"
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = re.sub(r"\s+", " ", str(error)).strip()
    return UserError(f"{path}: not a readable {_suffix(path)[1:]} file ({reason}); check it or leave it out")


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _suffix(path: Path) -> str:
    return _plain(path).suffix.lower()


def _parquet_schema(path: Path) -> pa.Schema:
    return pq.read_schema(path).remove_metadata()


def _parquet(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=schema.names):
            yield pa.Table.from_batches([batch]).cast(schema)


def _csv_reader(path: Path, types: dict[str, pa.DataType]) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        pa.input_stream(str(path), compression="detect"),
        read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(delimiter="\t" if _suffix(path) == ".tsv" else ",", newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""]),
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
    parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore") if schema else None
    with pa.input_stream(str(path), compression="detect") as stream:
        rest = b""
        while block := stream.read(_BLOCK_BYTES):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if lines.strip():
                yield pa_json.read_json(pa.BufferReader(lines + newline), _json_read_options(lines), parse)
        if rest.strip():
            yield pa_json.read_json(pa.BufferReader(rest), _json_read_options(rest), parse)


def _json_read_options(lines: bytes) -> pa_json.ReadOptions:
    return pa_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)  # one block: no line is cut


def _json_schema(path: Path) -> pa.Schema:
    """The columns of all blocks; text where blocks disagree on a type."""
    return unify([block.schema for block in _json_blocks(path, None)])


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


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without the white space around it; null where nothing is left."""
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


_READERS: dict[str, Callable[[Path, pa.Schema], Iterator[pa.Table]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _json_blocks,
    ".ndjson": _json_blocks,
}
_SCHEMAS: dict[str, Callable[[Path], pa.Schema]] = {
    ".parquet": _parquet_schema,
    ".csv": _csv_schema,
    ".tsv": _csv_schema,
    ".jsonl": _json_schema,
    ".ndjson": _json_schema,
}
