"""Where the pictures of an adopted shard lie: a small file beside the shard says it, and no picture is copied.

_places/{shard}.json       a tar, or a Parquet file with the pictures in a column, somewhere else
_places/{shard}.parquet    files of their own: row `offset` of the index is row `offset` here

Their names begin with `_`: what a data set is does not change with where it lies.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlp_core.errors import UserError, public_text
from vlp_core.files import write_table, write_text
from vlp_core.identity import canonical_json

PLACES = "_places"
_FILES = pa.schema([("file", pa.string())])


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A file by path or url, with its size in bytes and, if it is a Parquet file, the column; or many files."""

    file: str = ""
    size: int = 0
    column: str | None = None
    files: pa.ChunkedArray | None = None


def is_place(path: Path) -> bool:
    return path.parent.name == PLACES


def find_place(folder: Path, name: str) -> Path | None:
    """The file that says where the pictures of a shard lie; None where they lie beside it."""
    candidates = (folder / PLACES / f"{name}{suffix}" for suffix in (".json", ".parquet"))
    return next((path for path in candidates if path.exists()), None)


def undecodable(pictures: Path, offset: int, uid: str, reason: str) -> UserError:
    """What is told of a picture in a file, or at a place, that cannot be decoded: where it is, and the way out."""
    if not is_place(pictures):
        return UserError(
            f"{pictures}: the picture of {uid} cannot be decoded ({reason}); delete the shard and fetch it again"
        )
    place = read_place(pictures)
    file = place.file if place.files is None else place.files[offset].as_py()
    told = f"{public_text(file)}: the picture of {uid} cannot be decoded ({reason})"
    return UserError(f"{told}; --adopt.decode leaves such pictures out")


def shard_of(pictures: Path) -> tuple[Path, str]:
    """The folder and the name of the shard that a file of pictures, or the place of one, belongs to."""
    folder = pictures.parent.parent if is_place(pictures) else pictures.parent
    return folder, pictures.name.split(".", 1)[0]


def write_place(folder: Path, name: str, place: Place) -> None:
    if place.files is not None:
        write_table(folder / PLACES / f"{name}.parquet", pa.table([place.files], schema=_FILES))
    else:
        said = {"file": place.file, "size": place.size, "column": place.column}
        write_text(folder / PLACES / f"{name}.json", canonical_json(said) + "\n")


def files_at(files: Sequence[str]) -> Place:
    return Place(files=pa.chunked_array([files], pa.string()))


def read_place(path: Path) -> Place:
    """OSError where it is no such file."""
    try:
        if path.suffix == ".parquet":
            return Place(files=pq.read_table(path, schema=_FILES)["file"])
        return Place(**json.loads(path.read_text()))
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise OSError(f"{path} does not say where they lie: {error}") from error
