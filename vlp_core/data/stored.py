"""What folders of pictures hold: their shards' rows and index, joined with a selection by uid in storage order."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.data.index import Reader, index_rows
from vlp_core.data.layout import CAPTIONS, INDEX, SELECTION_FILE, shard_names
from vlp_core.errors import UserError
from vlp_core.files import wide
from vlp_core.identity import sha256_of, uid_of

MANIFEST_FILE = "manifest.json"


def join(images: Path | Sequence[Path], selection: Path | None = None) -> tuple[list[Path], pa.Table, int]:
    """The shards' files, the selected rows in storage order, and how many pictures are stored.

    Rows have INDEX, weight, and file (place in the list of files).
    """
    folders = [images] if isinstance(images, Path) else list(images)
    chosen = None if selection is None else read_selection(selection)
    files, stored = _stored(folders)
    stored = _first_of_each(stored)
    if selection is None or chosen is None:
        return files, stored.append_column("weight", pa.array(np.ones(len(stored), np.float32))), len(stored)
    at = pc.index_in(stored["uid"], value_set=chosen["uid"].combine_chunks())
    found = stored.drop_columns("captions").filter(pc.is_valid(at))
    if len(found) != len(chosen):
        _refuse_missing(chosen, found, selection, folders)
    rows = chosen.take(at.drop_null())
    found = found.append_column("captions", rows["captions"]).append_column("weight", rows["weight"])
    return files, found, len(stored)


def read_selection(selection: Path, columns: Sequence[str] = ("uid", "weight", "captions")) -> pa.Table:
    """Columns of SELECTION out of its file or the folder of the step that wrote it."""
    path = selection / SELECTION_FILE if selection.is_dir() else selection
    try:
        with pq.ParquetFile(path) as file:  # by row groups: Arrow reads no list of texts beyond 2 GiB in one piece
            groups = [file.read_row_group(group, list(columns)) for group in range(file.num_row_groups)]
            return wide(pa.concat_tables([file.schema_arrow.empty_table().select(list(columns)), *groups]))
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise UserError(f"{path}: not a readable selection ({error}); run the select step again") from error


def index_shard(folder: Path, name: str) -> tuple[Path, pa.Table]:
    """The file that holds a shard's pictures, and its INDEX: stored, or made where img2dataset wrote the shard.

    Of a shard whose list was made without hashes, every picture is read and hashed.
    """
    parquet = folder / f"{name}.images.parquet"
    pictures = parquet if parquet.exists() else folder / f"{name}.tar"
    index = folder / f"{name}_index.parquet"
    try:
        if index.exists():
            return pictures, pq.read_table(index, columns=INDEX.names).cast(INDEX)
        rows = read_rows(folder, name)
        if "sha256" in rows.column_names:
            return pictures, index_rows(pictures, rows)
        unhashed = index_rows(pictures, rows.append_column("sha256", pa.nulls(len(rows), pa.string())))
        return pictures, unhashed.set_column(1, INDEX.field("sha256"), _hashes(pictures, unhashed))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{index}: not a readable index ({error}); delete it to have it made anew") from error


def read_rows(folder: Path, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A shard's rows (IMAGES and what came along), without reading pictures; only `columns` of them, where given.

    Where img2dataset wrote them, uid and captions are worked out; sha256 may be missing.
    """
    path = folder / f"{name}.parquet"
    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            rows = file.read(columns=_needed(there, columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet shard ({error}); fetch this shard again") from error
    lacking = {"key", "url", "status"} - set(there)
    if lacking:
        raise UserError(f"{path}: no column {', '.join(sorted(lacking))}; give a folder as img2dataset writes it")
    if "uid" not in there and (columns is None or "uid" in columns):
        rows = rows.append_column("uid", pa.array([uid_of(url) for url in rows["url"].to_pylist()]))
    if "captions" not in there and (columns is None or "captions" in columns):
        rows = rows.append_column("captions", _single_captions(rows))
    return rows


def _needed(there: Sequence[str], columns: Sequence[str] | None) -> list[str] | None:
    """What is read for these columns, two of which are worked out where they are not there."""
    if columns is None:
        return None
    instead = {"uid": "url", "captions": "caption"}
    return [
        name for name in (column if column in there else instead.get(column) for column in columns) if name in there
    ]


def _stored(folders: Sequence[Path]) -> tuple[list[Path], pa.Table]:
    files: list[Path] = []
    tables: list[pa.Table] = []
    for folder in folders:
        names = [] if _left_as_they_are(folder) else shard_names(folder)
        if not names and len(folders) == 1:
            raise UserError(
                f"{folder}: no shards of pictures (00000.parquet, 00000.tar, …); give a folder that has some"
            )
        for name in names:
            file, index = index_shard(folder, name)
            tables.append(wide(index).append_column("file", pa.array(np.full(len(index), len(files), np.int32))))
            files.append(file)
    if not tables:
        raise UserError(f"{', '.join(map(str, folders))}: no shards of pictures in any of these folders")
    return files, pa.concat_tables(tables)


def _left_as_they_are(folder: Path) -> bool:
    """Whether this is the result of a shard step that found nothing to rewrite."""
    manifest = folder / MANIFEST_FILE
    return manifest.exists() and not json.loads(manifest.read_text())["resharded"]


def _first_of_each(stored: pa.Table) -> pa.Table:
    """Each uid once, where it is found first."""
    distinct = pc.unique(stored["uid"])
    if len(distinct) == len(stored):
        return stored
    return stored.take(pc.index_in(distinct, value_set=stored["uid"].combine_chunks()))


def _refuse_missing(chosen: pa.Table, found: pa.Table, selection: Path, folders: Sequence[Path]) -> None:
    missing = chosen["uid"].filter(pc.invert(pc.is_in(chosen["uid"], value_set=found["uid"].combine_chunks())))
    if not len(missing):
        raise UserError(f"{selection}: a uid stands in it more than once; run the select step again")
    where = ", ".join(map(str, folders))
    raise UserError(
        f"{selection}: {len(missing)} of its {len(chosen)} uids are in no shard of {where} (such as {missing[0]}); "
        "give the images that the selection was made from"
    )


def _single_captions(rows: pa.Table) -> pa.Array:
    if "caption" not in rows.column_names:
        return pa.array([[]] * len(rows), CAPTIONS)
    return pa.array([[caption] if caption else [] for caption in rows["caption"].to_pylist()], CAPTIONS)


def _hashes(pictures: Path, index: pa.Table) -> pa.Array:
    """sha256 of the pictures as they are stored."""
    reader = Reader(open_files=1)
    places = zip(index["offset"].to_pylist(), index["length"].to_pylist(), strict=True)
    return pa.array([sha256_of(reader.read(pictures, offset, length)) for offset, length in places], pa.string())
