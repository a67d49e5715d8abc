"""A shard that somebody else wrote: its rows as IMAGES, and where each of its pictures lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.found_tar import rows_of_tar
from vlp_core.data import store
from vlp_core.data.adopted import Place, files_at, is_place, read_place
from vlp_core.data.foreign import NEEDED, as_images
from vlp_core.data.index import index_pictures
from vlp_core.data.layout import SUCCESS
from vlp_core.data.parts import INSIDE, Part
from vlp_core.data.tar import AHEAD
from vlp_core.data.tar_names import FORMATS, parted_name
from vlp_core.errors import UserError, public_text

_FAR_AHEAD = 2**23  # bytes that are read at once of a remote tar


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundShard:
    """IMAGES; and of the rows that succeeded, in their order, `offset` and `length` of the picture as in INDEX, and its
    `format` where its name says that."""

    rows: pa.Table
    place: Place
    at: pa.Table


def find_shard(
    part: Part, caption_names: Sequence[str], *, caption_column: str | None = None, decode: bool = False
) -> FoundShard:
    """Read the rows and the headers of a shard; pictures only where nobody wrote down what they are.

    `decode` looks at all those of a tar by itself. Captions are as `as_images` takes them.

    Raises TarError, UserError, OSError and Arrow's errors for what is damaged or out of reach.
    """
    rows = _rows(part)
    if rows is None:
        images, at = rows_of_tar(part, caption_names, caption_column=caption_column, decode=decode)
        return FoundShard(rows=images, place=_place(part), at=at)
    images = as_images(rows, name=part.name, caption_names=caption_names, caption_column=caption_column)
    succeeded = pc.equal(images["status"], SUCCESS)
    place, at = _located(part, images["key"].filter(succeeded).combine_chunks(), succeeded)
    return FoundShard(rows=images, place=place, at=at)


def _rows(part: Part) -> pa.Table | None:
    """The rows without pictures; None for a tar beside which no rows of img2dataset's lie."""
    if part.rows is None:
        return None
    with store.open_binary(part.rows) as file:
        table = pq.ParquetFile(file)
        names = table.schema_arrow.names
        if set(names) >= NEEDED:
            pictures = _pictures_in(table.schema_arrow)
            return table.read([name for name in names if name not in pictures])
    if part.pictures.endswith(".tar"):
        return None
    lacking = ", ".join(sorted(NEEDED - set(names)))
    raise UserError(f"{public_text(part.rows)}: no column {lacking}; give a folder as img2dataset writes it")


def _pictures_in(schema: pa.Schema) -> list[str]:
    """The columns of a Parquet file that hold encoded pictures."""
    return [column.name for column in schema if column.name in INSIDE and pa.types.is_binary(column.type)]


def _located(part: Part, keys: pa.Array, succeeded: pa.ChunkedArray) -> tuple[Place, pa.Table]:
    if part.index is not None:
        with store.open_binary(part.index) as file:
            found = pq.read_table(file, columns=["offset", "length"])
        if len(found) != len(keys):
            raise UserError(f"{public_text(part.index)}: it does not fit the rows of its shard; delete it")
        return _place(part), found
    if part.pictures.endswith(".tar"):
        ahead = _FAR_AHEAD if store.is_url(part.pictures) else AHEAD
        with store.reading(part.pictures) as read:
            found = index_pictures(read, part.size, ahead=ahead)
        return _place(part), _by_key(part, found, keys)
    if part.pictures.endswith(".parquet"):
        return _in_column(part, succeeded)
    return _in_files(part, keys)


def _place(part: Part) -> Place:
    if not store.is_url(part.pictures) and is_place(Path(part.pictures)):
        return read_place(Path(part.pictures))
    return Place(file=part.pictures, size=part.size, column="image" if part.pictures.endswith(".parquet") else None)


def _by_key(part: Part, found: pa.Table, keys: pa.Array) -> pa.Table:
    at = pc.index_in(keys, value_set=found["key"].combine_chunks())
    if at.null_count:
        missing = keys.filter(pc.is_null(at))
        raise UserError(
            f"{public_text(part.pictures)}: {len(missing)} pictures of its Parquet file are not in it, such as "
            f"{missing[0]}; write the shard again, or leave it out"
        )
    return found.take(at)


def _in_column(part: Part, succeeded: pa.ChunkedArray) -> tuple[Place, pa.Table]:
    """img2dataset's format `parquet`: pictures among the rows; one that failed has none."""
    with store.open_binary(part.pictures) as file:
        table = pq.ParquetFile(file)
        inside = _pictures_in(table.schema_arrow)[:1]
        if not inside:
            raise UserError(
                f"{public_text(part.pictures)}: rows without pictures: no {Path(part.pictures).stem}.tar or folder "
                "beside it (of what img2dataset writes, webdataset, files and parquet are read)"
            )
        groups = range(table.metadata.num_row_groups)
        read = [pc.binary_length(table.read_row_group(group, inside)[inside[0]]) for group in groups]
    lengths = pa.concat_arrays([pa.array([], pa.int32()), *(chunk for part in read for chunk in part.chunks)])
    offsets = pa.array(range(len(lengths)), pa.int64())
    place = Place(file=part.pictures, size=part.size, column=inside[0])
    formats = pa.array([FORMATS.get(inside[0])] * len(lengths), pa.string())  # a column is named by it
    return place, pa.table({"offset": offsets, "length": lengths, "format": formats}).filter(succeeded)


def _in_files(part: Part, keys: pa.Array) -> tuple[Place, pa.Table]:
    """img2dataset's format `files`: a folder a shard, a file a picture."""
    found = [(*parted_name(item.name), item) for item in (store.entries(part.pictures) or {}).values()]
    pictures = [(key, FORMATS[extension], item) for key, extension, item in found if extension in FORMATS]
    files = {
        "key": pa.array([key for key, _, _ in pictures], pa.string()),
        "file": pa.array([store.joined(part.pictures, item.name) for _, _, item in pictures], pa.string()),
        "length": pa.array([item.size for _, _, item in pictures], pa.int64()),
        "format": pa.array([format for _, format, _ in pictures], pa.string()),
    }
    chosen = _by_key(part, pa.table(files), keys)
    offsets = pa.array(range(len(chosen)), pa.int64())
    return files_at(chosen["file"].to_pylist()), chosen.append_column("offset", offsets)
