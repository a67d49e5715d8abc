"""Folders as img2dataset lays them out in its three formats, with pictures at hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from tests.vlp_core.data.folders import jpeg
from vlp_core.data.layout import SUCCESS
from vlp_core.identity import sha256_of

FORMATS = ("webdataset", "files", "parquet")


def came(number: int) -> str:
    """The sha256 of what a url gave, which is not what is stored of it."""
    return sha256_of(f"body {number}".encode())


def write(
    folder: Path,
    shards: Sequence[int],
    *,
    format: str = "webdataset",
    failed: Sequence[int] = (),
    hashed: bool = True,
    stored: Mapping[int, bytes] | None = None,
) -> dict[str, bytes]:
    """Shards of so many rows, the numbers of failed rows; the pictures by url. Without `hashed` no sha256 is there.

    `stored` are bytes that lie in place of some pictures, by number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures, first = {}, 0
    for shard, count in enumerate(shards):
        numbers = range(first, first + count)
        bodies = [None if number in failed else (stored or {}).get(number) or jpeg(number) for number in numbers]
        rows = [row(number, f"{shard:05d}{number - first:04d}", number not in failed) for number in numbers]
        if not hashed:
            rows = [{name: value for name, value in row.items() if name != "sha256"} for row in rows]
        _WRITERS[format](folder, f"{shard:05d}", rows, bodies)
        pictures |= {row["url"]: body for row, body in zip(rows, bodies, strict=True) if body is not None}
        first += count
    return pictures


def row(number: int, key: str, came_well: bool) -> dict[str, Any]:
    row = {"url": f"http://pictures.test/{number}.jpg", "caption": f" picture {number}", "key": key}
    row |= {"status": SUCCESS, "error_message": None} if came_well else {"status": "failed_to_download"}
    if not came_well:
        return row | {"error_message": "404", "sha256": None}
    sides = {"width": 40, "height": 30, "original_width": 400 + number, "original_height": 300}
    return row | sides | {"exif": "{}", "sha256": came(number)}


def _rows(folder: Path, name: str, rows: list[dict[str, Any]], **more: pa.Array) -> None:
    table = pa.Table.from_pylist(sorted(rows, key=len, reverse=True)[:1] + rows).slice(1)  # all columns
    for column, values in more.items():
        table = table.append_column(column, values)
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=3)


def _tar(folder: Path, name: str, rows: list[dict[str, Any]], bodies: Sequence[bytes | None]) -> None:
    with webdataset.TarWriter(str(folder / f"{name}.tar")) as tar:
        for row, body in zip(rows, bodies, strict=True):
            if body is not None:
                members = {"jpg": body, "txt": row["caption"], "json": json.dumps(row, indent=4)}
                tar.write({"__key__": row["key"], **members})
    _rows(folder, name, rows)


def _files(folder: Path, name: str, rows: list[dict[str, Any]], bodies: Sequence[bytes | None]) -> None:
    (folder / name).mkdir()
    for row, body in zip(rows, bodies, strict=True):
        if body is not None:
            (folder / name / f"{row['key']}.jpg").write_bytes(body)
            (folder / name / f"{row['key']}.txt").write_text(row["caption"])
    _rows(folder, name, rows)


def _parquet(folder: Path, name: str, rows: list[dict[str, Any]], bodies: Sequence[bytes | None]) -> None:
    _rows(folder, name, rows, jpg=pa.array(bodies, pa.binary()))


_WRITERS = {"webdataset": _tar, "files": _files, "parquet": _parquet}
