"""One shard of a data set that is there, adopted whole or not at all."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.adopted_rows import decoded, filled
from jobs.found_shard import FoundShard, find_shard
from vlp_core.data.adopted import find_place, write_place
from vlp_core.data.foreign import CAPTION_COLUMN
from vlp_core.data.index import Reader
from vlp_core.data.layout import INDEX, SUCCESS
from vlp_core.data.parts import Part
from vlp_core.data.tar import TarError
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import full_disk, no_space, write_table
from vlp_core.identity import sha256_of

_OWN = frozenset({"key", "url", "caption", "captions", "sha256", "uid"})  # what each row has its own of


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shard as it is there, its new name and where that goes, columns that may hold captions (and the one that does,
    where it was named), whether a damaged shard is left out, and whether each picture is decoded."""

    part: Part
    name: str
    out: Path
    caption_names: tuple[str, ...]
    skip: bool
    caption_column: str | None = None
    decode: bool = False


def adopt_shard(task: Task) -> str | None:
    """Write place, index and rows of a shard, the rows last, unless they are there; why it was left out, if it was.

    UserError where what is there is damaged or out of reach and is not to be left out.
    """
    try:
        _adopt(task)
    except UserError as error:
        if not task.skip:
            raise
        return str(error)
    return None


def _adopt(task: Task) -> None:
    rows = task.out / f"{task.name}.parquet"
    index = task.out / f"{task.name}_index.parquet"
    if rows.exists() and index.exists() and find_place(task.out, task.name):
        return
    where = public_text(task.part.pictures)
    try:
        found = find_shard(task.part, task.caption_names, caption_column=task.caption_column, decode=task.decode)
        write_place(task.out, task.name, found.place)
        if task.decode and task.part.rows is not None:
            found = _decoded(task, found)
        found = replace(found, rows=filled(found.rows, found.at))
        images = _hashed(task, found)
        there = images.filter(pc.equal(images["status"], SUCCESS))
        columns = [there["uid"], there["sha256"], found.at["offset"], found.at["length"], there["captions"]]
        write_table(index, pa.table(columns, names=INDEX.names).cast(INDEX), plain=INDEX.names)
        write_table(rows, images, plain=_OWN)
    except TarError as error:
        raise UserError(f"{where}: truncated or not a tar ({error}); give a whole copy, or leave it out") from None
    except (OSError, UnicodeError, pa.ArrowException) as error:
        if isinstance(error, OSError) and full_disk(error):
            raise UserError(no_space(task.out)) from error
        raise UserError(f"{where}: cannot be read ({first_line(error)}); mend it, or leave it out") from error


def _decoded(task: Task, found: FoundShard) -> FoundShard:
    """Without the pictures that cannot be decoded."""
    place = find_place(task.out, task.name)
    assert place is not None
    reader = Reader(open_files=1)
    places = zip(found.at["offset"].to_pylist(), found.at["length"].to_pylist(), strict=True)
    rows, at = decoded(found.rows, found.at, (reader.read(place, offset, length) for offset, length in places))
    reader.close()
    return replace(found, rows=rows, at=at)


def _hashed(task: Task, found: FoundShard) -> pa.Table:
    """The rows with the sha256 of each picture: as it lies, where nobody wrote down how it came."""
    images = found.rows
    succeeded = pc.equal(images["status"], SUCCESS).combine_chunks()
    known = images["sha256"].filter(succeeded)
    if not known.null_count:
        return images
    place = find_place(task.out, task.name)
    assert place is not None
    reader = Reader(open_files=1)
    places = zip(known.to_pylist(), found.at["offset"].to_pylist(), found.at["length"].to_pylist(), strict=True)
    hashes = [sha or sha256_of(reader.read(place, offset, length)) for sha, offset, length in places]
    reader.close()
    column = pc.replace_with_mask(images["sha256"].combine_chunks(), succeeded, pa.array(hashes, pa.string()))
    return images.set_column(images.column_names.index("sha256"), "sha256", column)


def has_column_named(out: Path, name: str) -> bool:
    """Whether an adopted shard has the column that captions were asked to come from."""
    return CAPTION_COLUMN in (pq.read_metadata(out / f"{name}.parquet").metadata or {})


def counts_of(out: Path, name: str) -> tuple[int, int]:
    """The rows of an adopted shard, and how many of them have a picture."""
    rows, index = (pq.read_metadata(out / f"{name}{ending}.parquet").num_rows for ending in ("", "_index"))
    return rows, index
