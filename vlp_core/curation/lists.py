"""Lists of (url, caption): finding their files, which columns are which, and what cannot be read."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.curation.formats import READERS, SCHEMAS, ends_whole, first_columns, is_json, is_list, plain, suffix_of
from vlp_core.curation.settings import Ingest
from vlp_core.errors import UserError, first_line, nearest

URL_NAMES = ("url", "image_url", "img_url", "uri", "link")
CAPTION_NAMES = ("caption", "captions", "text", "texts", "alt", "alt_text", "alttext", "title", "description")
FILE_NAMES = ("file_name", "filename", "file", "file_path", "filepath", "image", "image_file", "image_path", "path")
SUFFIXES = tuple(SCHEMAS)

_UNREADABLE = (pa.ArrowException, OSError, UnicodeError)


@dataclass(frozen=True, kw_only=True)
class SourceList:
    """A file of a list: where it is, the schema of its rows, and which columns are which."""

    path: Path
    schema: pa.Schema
    url: str
    caption: str | None
    begins: str = ""
    """What stands before each url: of a caption table, whose pictures are files, the name of its folder."""

    @property
    def name(self) -> str:
        """What its rows have as `source`."""
        return plain(self.path).stem

    @property
    def size(self) -> int:
        """Bytes of its rows in memory, roughly."""
        packed = self.path.suffix == ".gz" or suffix_of(self.path) == ".parquet"
        return self.path.stat().st_size * (4 if packed else 1)

    @property
    def further(self) -> list[pa.Field]:
        return [column for column in self.schema if column.name not in (self.url, self.caption)]

    def batches(self) -> Iterator[pa.Table]:
        """Its rows in order; UserError where they cannot be read, or text is not UTF-8."""
        try:
            for table in READERS[suffix_of(self.path)](self.path, self.schema):
                for name, column in zip(table.column_names, table.columns, strict=True):
                    self._naming(name, partial(column.validate, full=True))
                yield table
        except _UNREADABLE as error:
            raise _unreadable(self.path, error) from error

    def urls(self, batch: pa.Table) -> pa.ChunkedArray:
        """The urls of some of its rows; null where there is none."""
        urls = self.text(self.url, batch[self.url])
        return pc.binary_join_element_wise(self.begins, urls, "") if self.begins else urls

    def text(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """A column, or the items of one, as text without the white space around it; null where nothing is left."""
        text: pa.ChunkedArray = self._naming(name, lambda: pc.utf8_trim_whitespace(column.cast(pa.string())))
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)

    def _naming(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except pa.ArrowException as error:
            reason = first_line(error)
            raise UserError(f"{self.path}: column {name!r} is no text in UTF-8 ({reason}); convert it") from error


def files_of(sources: Sequence[Path]) -> list[Path]:
    """The files of lists and of folders of lists, in the order given and by name inside a folder."""
    files: list[Path] = []
    for source in sources:
        if not source.exists():
            raise UserError(
                f"{source}: no such file or folder; give a list of urls and captions ({', '.join(SUFFIXES)})"
            )
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if path.is_file() and suffix_of(path) in SUFFIXES)
            if not inside:
                raise UserError(f"{source}: no lists in this folder; it needs files that end in {', '.join(SUFFIXES)}")
            files += inside
        else:
            files.append(source)
    if not files:
        raise UserError(f"no list given; name one or more files of urls and captions ({', '.join(SUFFIXES)})")
    return files


def open_list(path: Path, ingest: Ingest, *, recognise: bool = False, files: bool = False) -> SourceList:
    """Look at a list's columns; UserError where its format or columns are not known or it cannot be read.

    With `recognise`, a list that lacks a column which `ingest` names is read as if none had been named. With `files` it
    is a caption table: the column of urls holds names of files, and a url is `file:FOLDER/NAME`.
    """
    check_format(path)
    try:
        schema = SCHEMAS[suffix_of(path)](path)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if not schema.names:
        raise UserError(f"{path}: an empty list; it needs rows with a url and a caption")
    if twice := {name for name in schema.names if schema.names.count(name) > 1}:
        raise UserError(f"{path}: more than one column is named {min(twice)!r}; rename all but one")
    wanted = [
        None if recognise and name not in schema.names else name for name in (ingest.url_column, ingest.caption_column)
    ]
    url = _column(path, schema.names, wanted[0], FILE_NAMES if files else URL_NAMES, "file name" if files else "url")
    if url is None:
        raise _no_column(path, schema.names, URL_NAMES, "url")
    caption = _column(path, schema.names, wanted[1], CAPTION_NAMES, "caption")
    if caption is None and ingest.needs_caption:
        raise _no_column(path, schema.names, CAPTION_NAMES, "caption")
    begins = f"file:{path.absolute().parent.name}/" if files else ""
    found = SourceList(path=path, schema=schema, url=url, caption=caption, begins=begins)
    _check_types(found)
    return found


def check_list(path: Path, ingest: Ingest, *, recognise: bool = False) -> None:
    """As `open_list`, at a cost that does not grow with the list: of lines of JSON, the first block and the last line.

    Where that line cannot be read by itself, all are.
    """
    check_format(path)
    try:
        is_told = not is_json(path) or not (first_columns(path) and ends_whole(path))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if is_told:
        open_list(path, ingest, recognise=recognise)


def check_format(path: Path) -> None:
    """UserError where a file's name says no format that lists have."""
    if suffix_of(path) not in READERS:
        raise UserError(
            f"{path}: unknown format {path.suffix or 'without an ending'!r}; known: {', '.join(SUFFIXES)} (and .gz)"
        )


def is_table(path: Path, file_column: str | None = None) -> bool:
    """Whether a list is a caption table: it has this column, or one of file names and none of urls.

    What cannot be read is none; it is told when it is read as a list.
    """
    if suffix_of(path) not in READERS:
        return False
    try:
        names = first_columns(path)
    except _UNREADABLE:
        return False
    if file_column is not None:
        return file_column in names
    lower = {name.lower() for name in names}
    return not lower.isdisjoint(FILE_NAMES) and lower.isdisjoint(URL_NAMES)


def _check_types(found: SourceList) -> None:
    """UserError where a column cannot be kept, or what should be text cannot become it."""
    for column in found.schema:
        kind = column.type.value_type if column.name == found.caption and is_list(column.type) else column.type
        if column.name in (found.url, found.caption):
            found.text(column.name, pa.chunked_array([], kind))
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([column])).close()
        except pa.ArrowException as error:
            raise UserError(
                f"{found.path}: column {column.name!r} cannot be kept ({first_line(error)}); leave it out"
            ) from error


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
        f"{path}: no {what} column; its columns are {', '.join(names)}; name it with --ingest.{what}-column{suggestion}"
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = re.sub(r"\s+", " ", str(error)).strip()
    return UserError(f"{path}: not a readable {suffix_of(path)[1:]} file ({reason}); check it or leave it out")
