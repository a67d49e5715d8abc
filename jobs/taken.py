"""Which rows of what is in a root tombstones name."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.held import read_columns
from vlp_core.data.adopted import find_place, read_place
from vlp_core.data.layout import SUCCESS, shard_names
from vlp_core.data.purged import SEEN
from vlp_core.data.releases import CHANGES_FILE, QUARANTINE_FILE, QUARANTINED, RELEASE_LEDGER_FOLDER
from vlp_core.data.takedowns import Mask, Takedowns, canonical_urls
from vlp_core.errors import UserError, first_line
from vlp_core.identity import uid_of

OF_IMAGES = frozenset({"key", "url", "status"})
_READ = ("uid", "url", "status", "final_url", "sha256", "key")
_LOOSE = (CHANGES_FILE, QUARANTINE_FILE)  # tables of a release that name links which may be in no shard of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Taken:
    """The rows of a folder of images that are taken down: SEEN of each, null `sha256` where it has no picture."""

    seen: pa.Table
    files: Counter[str]
    """Where their pictures lie, and how many in each file."""

    @property
    def pictures(self) -> int:
        return len(self.seen) - self.seen["sha256"].null_count


def is_of_images(folder: Path) -> bool:
    """Whether it holds shards of pictures."""
    return _columns(folder) >= OF_IMAGES


def is_of_links(folder: Path) -> bool:
    """Whether it holds shards of pairs, or tables of links beside its shards."""
    names = _columns(folder)
    return ({"uid", "url"} <= names and not names >= OF_IMAGES) or any((folder / name).exists() for name in _LOOSE)


def _columns(folder: Path) -> set[str]:
    """UserError where the first shard cannot be read: what is in it must not be passed over."""
    names = shard_names(folder)
    path = folder / f"{names[0]}.parquet" if names else None
    try:
        return set() if path is None else set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: not readable ({first_line(error)}); put it back, or have its pipeline make it again with --verify"
        ) from error


def taken_of_images(folder: Path, down: Takedowns) -> Taken:
    """UserError where a shard cannot be read."""
    seen, files = [SEEN.empty_table()], Counter[str]()
    for name in shard_names(folder):
        found = named_rows(folder, name, down)
        if len(found):
            pictured = pc.equal(found["status"], SUCCESS)
            shown = found["sha256"] if "sha256" in found.column_names else pa.nulls(len(found), pa.string())
            seen.append(seen_of(found["uid"], found["url"], pc.if_else(pictured, shown, pa.scalar(None, pa.string()))))
            files.update(_files(folder, name, found.filter(pictured)["uid"]))
    return Taken(seen=pa.concat_tables(seen), files=files)


def named_rows(folder: Path, name: str, down: Takedowns) -> pa.Table:
    """Of a shard of pictures the rows that are named: by their url, the one that answered, or the picture's sha256."""
    path = folder / f"{name}.parquet"
    rows = read_columns(path, columns_there(path, _READ))
    return rows.filter(pa.array(_mask(folder, name, rows, down)))


def _mask(folder: Path, name: str, rows: pa.Table, down: Takedowns) -> Mask:
    gone = down.of_urls(rows["url"])
    if "final_url" in rows.column_names:
        gone |= down.of_urls(rows["final_url"])
    if "sha256" in rows.column_names:
        gone |= down.of_pictures(rows["sha256"])
    ledger = folder / RELEASE_LEDGER_FOLDER / f"{name}.parquet"
    waits = pc.fill_null(pc.equal(rows["status"], QUARANTINED), False).to_numpy()
    if waits.any() and ledger.exists():  # of a picture that waits the row says nothing
        told = read_columns(ledger, ["final_url", "sha256"])
        gone |= waits & (down.of_urls(told["final_url"]) | down.of_pictures(told["sha256"]))
    return gone


def taken_of_links(folder: Path, down: Takedowns) -> pa.Table:
    """SEEN of the rows of lists, and of what a release says of links, that are taken down."""
    found = [seen_of(rows["uid"], rows["url"], pa.nulls(len(rows), pa.string())) for rows in named_links(folder, down)]
    return pa.concat_tables([SEEN.empty_table(), *found])


def named_links(folder: Path, down: Takedowns) -> Iterator[pa.Table]:
    """`uid` and `url` of the rows that are named, a table after the other."""
    names = _columns(folder)
    shards = shard_names(folder) if names >= {"uid", "url"} and not names >= OF_IMAGES else []
    for path in (*(folder / f"{name}.parquet" for name in shards), *(folder / name for name in _LOOSE)):
        if path.exists():
            rows = read_columns(path, columns_there(path, ("uid", "url", "sha256", "before_sha256")))
            gone = down.of_urls(rows["url"])
            if path.name == QUARANTINE_FILE:
                gone |= down.of_pictures(rows["sha256"]) | down.of_pictures(rows["before_sha256"])
            yield rows.select(["uid", "url"]).filter(pa.array(gone))


def seen_of(uids: pa.ChunkedArray, urls: pa.ChunkedArray, sha256: pa.ChunkedArray | pa.Array) -> pa.Table:
    """SEEN of rows."""
    canonical = canonical_urls(urls)[1].to_pylist()
    links = pa.array([None if url is None else uid_of(url) for url in canonical], pa.string())
    return pa.table([uids, links, sha256], schema=SEEN)


def columns_there(path: Path, wanted: Sequence[str]) -> list[str]:
    """Those of these columns that a Parquet file has."""
    names = pq.read_schema(path).names
    return [name for name in wanted if name in names]


def _files(folder: Path, name: str, uids: pa.ChunkedArray) -> Iterator[str]:
    """The file of each picture."""
    place = find_place(folder, name)
    if place is None:
        yield from [str(folder / f"{name}.tar")] * len(uids)
        return
    lies = read_place(place)
    if lies.files is None:
        yield from [lies.file] * len(uids)
        return
    index = read_columns(folder / f"{name}_index.parquet", ["uid", "offset"])
    at = pc.drop_null(pc.index_in(uids, value_set=index["uid"].combine_chunks()))
    yield from lies.files.take(index["offset"].take(at)).to_pylist()


def digest_places(uids: pa.Array, columns: Iterator[pa.ChunkedArray]) -> tuple[np.ndarray, pa.ChunkedArray]:
    """Of uids in columns one after the other: the places of `uids`, int64 ascending, and those that are left."""
    rows, start, left = [np.empty(0, np.int64)], 0, list[pa.Array]()
    for column in columns:
        gone = pc.is_in(column, value_set=uids)
        rows.append(start + np.flatnonzero(gone.to_numpy()))
        left += column.filter(pc.invert(gone)).chunks
        start += len(column)
    return np.concatenate(rows), pa.chunked_array(left, pa.string())
