"""A local folder of pictures with a caption table becomes images where it lies: each picture is looked at once."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.adopt_shard import counts_of
from jobs.adopted_picture import REFUSED, Stored, examine
from jobs.shards import map_shards
from vlp_core.curation.lists import open_list
from vlp_core.curation.settings import Ingest
from vlp_core.data.adopted import PLACES, files_at, find_place, write_place
from vlp_core.data.layout import IMAGES, INDEX, SUCCESS, shard_names
from vlp_core.errors import UserError
from vlp_core.files import full_disk, no_space, remove_leftovers, write_table
from vlp_core.tracker import Progress, Summary, Tracker

VERSION = "1"
RESUMABLE = True

_FILE = "file:"


@dataclass(frozen=True, kw_only=True)
class _Task:
    pairs: Path
    name: str
    folders: dict[str, Path]
    out: Path


def listing(
    tables: Sequence[Path], folders: Sequence[tuple[str, str]], *, ingest: Ingest, recognise: bool = False
) -> str:
    """A digest of the files that caption tables name: another one where a file was added, taken away or changed.

    UserError where a table cannot be read.
    """
    where, whole = dict(folders), hashlib.sha256()
    for path in tables:
        table = open_list(path, ingest, recognise=recognise, files=True)
        folder = where[path.absolute().parent.name]
        for batch in table.batches():
            for name in table.text(table.url, batch[table.url]).to_pylist():
                whole.update(f"{name}\0{_stamp(f'{folder}/{name}')}\0".encode())
    return whole.hexdigest()


def _stamp(file: str) -> str:
    try:
        status = Path(file).stat()
    except (OSError, ValueError):  # a name may hold what no file's does
        return "none"
    return f"{status.st_size}:{status.st_mtime_ns}"


def run(
    *,
    pairs: Path,
    folders: tuple[tuple[str, str], ...],
    out: Path,
    tracker: Tracker,
    listing: str = "",  # noqa: ARG001 - which files they are belongs to what is made of them
) -> Summary:
    """Write an images folder over the files that `pairs` name (`file:FOLDER/NAME`), whose FOLDERs lie at `folders`.

    Shards that are there are kept. A file that is not there, or is no picture, is a failed row; UserError where all
    are.
    """
    names = shard_names(pairs)
    remove_leftovers(out, out / PLACES)
    where = {name: Path(path) for name, path in folders}
    tasks = [_Task(pairs=pairs, name=name, folders=where, out=out) for name in names]
    progress = Progress(tracker, len(tasks), unit="shards")
    reasons: Counter[str] = Counter()
    for _, failed in map_shards(_adopt, tasks):
        reasons.update(failed)
        progress.add(1)
    rows, pictures = map(sum, zip(*(counts_of(out, name) for name in names), strict=True))
    if not pictures:
        why = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(4))
        raise UserError(
            f"{', '.join(map(str, where.values()))}: none of the {rows} files that the table names is a picture there "
            f"({why}); --adopt.pictures names the folder that they start from"
        )
    return Summary(counts={"rows": rows, "pictures/adopted": pictures, "failed": rows - pictures, "shards": len(names)})


def _adopt(task: _Task) -> Counter[str]:
    """Write the place, the index and the rows of a shard, the rows last, unless they are there; why rows failed."""
    path = task.out / f"{task.name}.parquet"
    index = task.out / f"{task.name}_index.parquet"
    try:
        if not (path.exists() and index.exists() and find_place(task.out, task.name)):
            _write(task, path, index)
    except OSError as error:
        if full_disk(error):
            raise UserError(no_space(task.out)) from error
        raise
    messages = pq.read_table(path, columns=["error_message"])["error_message"].drop_null()
    return Counter(messages.to_pylist())


def _write(task: _Task, path: Path, index: Path) -> None:
    pairs = pq.read_table(task.pairs / f"{task.name}.parquet")
    files = [_file(task.folders, url) for url in pairs["url"].to_pylist()]
    found = [_looked_at(file) for file in files]
    rows = _rows(task, pairs, found)
    there = pc.equal(rows["status"], SUCCESS)
    kept = rows.filter(there)
    write_place(
        task.out,
        task.name,
        files_at([str(file) for file, row in zip(files, found, strict=True) if row["status"] == SUCCESS]),
    )
    places = [pa.array(range(len(kept)), pa.int64()), kept["bytes"]]
    columns = [kept["uid"], kept["sha256"], *places, kept["captions"]]
    write_table(index, pa.table(columns, names=INDEX.names).cast(INDEX))
    write_table(path, rows)


def _file(folders: dict[str, Path], url: str) -> Path | None:
    """The file of a row; None for one outside its folder, which a table from elsewhere may name."""
    folder, _, name = url.removeprefix(_FILE).partition("/")
    base = folders[folder]
    file = base / name
    return file if ".." not in Path(name).parts and file.is_relative_to(base) else None


def _looked_at(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {"status": REFUSED, "error_message": "outside the folder"}
    try:
        found = examine(file.read_bytes())
    except (FileNotFoundError, ValueError):  # a name may hold what no file's does
        found = "no such file"
    except OSError as error:
        found = f"unreadable: {error.strerror}"
    return found.columns if isinstance(found, Stored) else {"status": REFUSED, "error_message": found}


def _rows(task: _Task, pairs: pa.Table, found: list[dict[str, Any]]) -> pa.Table:
    """IMAGES in the order of the pairs, then the columns that came along."""
    digits = max(4, len(str(max(len(pairs) - 1, 0))))
    given = {
        "key": pa.array([f"{task.name}{number:0{digits}d}" for number in range(len(pairs))], pa.string()),
        "caption": pa.array([texts[0] if texts else None for texts in pairs["captions"].to_pylist()], pa.string()),
        **{name: pairs[name] for name in pairs.column_names},
    }
    columns = {
        column.name: given.pop(column.name).cast(column.type)
        if column.name in given
        else pa.array([row.get(column.name) for row in found], column.type)
        for column in IMAGES
    }
    return pa.table(columns | given)
