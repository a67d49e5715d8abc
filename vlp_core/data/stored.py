"""What folders of pictures hold: their shards' rows and index, joined with a selection by uid in storage order."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlp_core.data.adopted import find_place
from vlp_core.data.index import Reader, index_rows
from vlp_core.data.layout import CAPTIONS, INDEX, SELECTION_FILE, SUCCESS, shard_names
from vlp_core.errors import UserError
from vlp_core.files import wide
from vlp_core.identity import generator, sha256_of, uid_of
from vlp_core.uids import firsts, names, positions

MANIFEST_FILE = "manifest.json"
_LOOKED_INTO = 4  # parts of a selection that stand for all: its rows are in no order of length


def join(images: Path | Sequence[Path], selection: Path | None = None) -> tuple[list[Path], pa.Table, int]:
    """The shards' files, the selected rows in storage order, and how many pictures are stored.

    Rows have INDEX, weight, and file (place in the list of files).
    """
    folders = [images] if isinstance(images, Path) else list(images)
    if selection is None:
        files, stored = _stored(folders)
        stored = _first_of_each(stored)
        return files, stored.append_column("weight", pa.array(np.ones(len(stored), np.float32))), len(stored)
    chosen = read_selection(selection)
    files, stored = _stored(folders, [name for name in INDEX.names if name != "captions"])
    at = positions(stored["uid"], chosen["uid"])
    rows = np.flatnonzero(at >= 0)
    if len(rows) > len(chosen):
        rows = _one_of_each(rows, at[rows], stored, selection)
    if len(rows) != len(chosen):
        _refuse_missing(chosen, stored, selection, folders)
    found = stored if len(rows) == len(stored) else stored.take(pa.array(rows))
    chosen = chosen.take(pa.array(at[rows]))
    found = found.append_column("captions", chosen["captions"]).append_column("weight", chosen["weight"])
    return files, found, len(stored)


def stored_count(images: Path | Sequence[Path]) -> int:
    """How many pictures folders hold, without reading their indexes."""
    count = 0
    for folder in [images] if isinstance(images, Path) else images:
        for name in [] if _left_as_they_are(folder) else shard_names(folder):
            index = folder / f"{name}_index.parquet"
            if index.exists():
                count += pq.read_metadata(index).num_rows
            else:
                status = read_rows(folder, name, ["status"])["status"]
                count += pc.sum(pc.equal(status, SUCCESS), min_count=0).as_py()
    return count


def selection_count(selection: Path) -> int:
    """How many pictures a selection keeps."""
    return len(read_selection(selection, ["weight"]))


def some_captions(selection: Path, most: int) -> list[str]:
    """All captions of a selection, or so many of them that a seed draws of a few parts of its file."""
    path = selection / SELECTION_FILE if selection.is_dir() else selection
    with pq.ParquetFile(path) as file:
        spread = np.linspace(0, file.num_row_groups - 1, min(_LOOKED_INTO, file.num_row_groups)).astype(int)
        groups = [file.read_row_group(group, ["captions"])["captions"] for group in np.unique(spread).tolist()]
    return drawn(pa.concat_arrays([pc.list_flatten(chunk) for group in groups for chunk in group.chunks]), most)


def drawn(texts: pa.Array, most: int) -> list[str]:
    """All of the texts, or so many of them that a seed draws where there are more."""
    if len(texts) > most:
        texts = texts.take(pa.array(generator("captions").choice(len(texts), most, replace=False)))
    return texts.to_pylist()


def read_selection(selection: Path, columns: Sequence[str] = ("uid", "weight", "captions")) -> pa.Table:
    """Columns of SELECTION out of its file or the folder of the step that wrote it."""
    path = selection / SELECTION_FILE if selection.is_dir() else selection
    try:
        with pq.ParquetFile(path) as file:  # by row groups: Arrow reads no list of texts beyond 2 GiB in one piece
            groups = [file.read_row_group(group, list(columns)) for group in range(file.num_row_groups)]
            return wide(pa.concat_tables([file.schema_arrow.empty_table().select(list(columns)), *groups]))
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise UserError(f"{path}: not a readable selection ({error}); run the select step again") from error


def index_shard(folder: Path, name: str, columns: Sequence[str] = tuple(INDEX.names)) -> tuple[Path, pa.Table]:
    """The file that holds a shard's pictures, or says where they lie, and its INDEX: stored, or made where img2dataset
    wrote the shard.

    Of a shard whose list was made without hashes, every picture is read and hashed. `columns` are those of INDEX that
    are wanted.
    """
    parquet = folder / f"{name}.images.parquet"
    pictures = find_place(folder, name) or (parquet if parquet.exists() else folder / f"{name}.tar")
    index = folder / f"{name}_index.parquet"
    try:
        if index.exists():
            with pq.ParquetFile(index) as file:
                return pictures, file.read(columns=list(columns)).select(columns).cast(_index_of(columns))
        rows = read_rows(folder, name)
        if "sha256" in rows.column_names:
            return pictures, index_rows(pictures, rows).select(columns)
        unhashed = index_rows(pictures, rows.append_column("sha256", pa.nulls(len(rows), pa.string())))
        return pictures, unhashed.set_column(1, INDEX.field("sha256"), _hashes(pictures, unhashed)).select(columns)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
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
    wanted = (column if column in there else instead.get(column, "") for column in columns)
    return [name for name in wanted if name in there]


def _index_of(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([INDEX.field(name) for name in columns])


def _stored(folders: Sequence[Path], columns: Sequence[str] = tuple(INDEX.names)) -> tuple[list[Path], pa.Table]:
    files: list[Path] = []
    tables: list[pa.Table] = []
    for folder in folders:
        names = [] if _left_as_they_are(folder) else shard_names(folder)
        if not names and len(folders) == 1:
            raise UserError(
                f"{folder}: no shards of pictures (00000.parquet, 00000.tar, …); give a folder that has some"
            )
        for name in names:
            file, index = index_shard(folder, name, columns)
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
    first = np.flatnonzero(firsts(names(stored["uid"])) == np.arange(len(stored)))
    return stored if len(first) == len(stored) else stored.take(pa.array(first))


def _one_of_each(
    rows: NDArray[np.int64], at: NDArray[np.int64], stored: pa.Table, selection: Path
) -> NDArray[np.int64]:
    """Of the stored rows of each selected uid (its place in the selection) the first with the picture that was
    selected: a uid may be held twice, with two answers."""
    selected = read_selection(selection, ["sha256"])["sha256"]
    same = pc.equal(stored["sha256"].take(pa.array(rows)), selected.take(pa.array(at)))
    order = np.lexsort([~pc.fill_null(same, False).to_numpy(), at])
    first = order[np.unique(at[order], return_index=True)[1]]
    return rows[np.sort(first)]


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
