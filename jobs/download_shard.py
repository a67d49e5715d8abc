"""One shard of pictures: fetched, shrunk, written in list order, and published whole or not at all."""

import json
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.img2dataset_parts import Shrunk, make_shrink, quiet_codecs, tar_writer
from vlp_core.data.layout import ATTEMPTS, ATTEMPTS_FOLDER, CAPTIONS, IMAGES, SUCCESS
from vlp_core.errors import UserError
from vlp_core.files import full_disk, no_space, write_table, write_text
from vlp_core.identity import sha256_of
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import Header, NotAnImageError, kind_of, refusal, sniff

WORK = "_work"  # what is not whole yet; its name keeps it out of the step's record
NOT_FETCHED = "failed_to_download"  # img2dataset's names
NOT_SHRUNK = "failed_to_resize"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one task needs: the shard's name, its rows, where it goes, and how many digits a row has in a key."""

    name: str
    pairs: Path
    out: Path
    digits: int
    fetch: Fetch


@dataclass(frozen=True, kw_only=True)
class Row:
    """The columns of IMAGES and ATTEMPTS that fetching finds out, and where the picture lies in the spill."""

    status: str
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    sha256: str | None = None
    bytes: int | None = None
    format: str | None = None
    attempts: int
    http_status: int | None
    final_url: str | None
    place: tuple[int, int] | None = None


class Spill:
    """Pictures in the order they come, on disk: a slow link holds up neither memory nor the links after it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb+", buffering=0)
        self._lock = Lock()
        self._end = 0

    def put(self, body: bytes) -> tuple[int, int]:
        """Keep a body; returns its place."""
        with self._lock:
            place = self._end, len(body)
            view = memoryview(body)
            while view:  # a raw write may be short
                view = view[self._file.write(view) :]
            self._end += len(body)
        return place

    def get(self, place: tuple[int, int]) -> bytes:
        offset, length = place
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        self._file.close()


def fetch_shard(shard: Shard) -> str:
    """Make one shard of the images folder; returns its name. A task of its own process."""
    folder = shard.out / WORK / f"{shard.name}-{uuid.uuid4().hex[:8]}"
    for dead in folder.parent.glob(f"{shard.name}-*"):  # of a worker that was lost: it takes room, and would be counted
        shutil.rmtree(dead, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        pairs = pq.read_table(shard.pairs)
        with quiet_codecs():
            rows, spill = _fetch_rows(pairs, shard.fetch, folder)
        _write(folder, shard, _table(pairs, rows, shard), rows, spill)
        _publish(folder, shard)
    except OSError as error:
        if full_disk(error):
            raise UserError(no_space(shard.out)) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return shard.name


def _fetch_rows(pairs: pa.Table, fetch: Fetch, folder: Path) -> tuple[list[Row], Spill]:
    from vlp_core.web.crawl import crawl
    from vlp_core.web.fetcher import Answer

    urls: list[str] = pairs["url"].to_pylist()
    rows: list[Row | None] = [None] * len(urls)
    spill = Spill(folder / "spill")
    examine = _examiner(fetch)
    progress = _ProgressFile(folder / "progress")

    def handle(number: int, answer: Answer) -> None:
        came: dict[str, Any] = {
            "attempts": answer.attempts,
            "http_status": answer.http_status,
            "final_url": answer.final_url,
        }
        found = examine(answer.body) if answer.body is not None else None
        if answer.body is None or found is None:
            rows[number] = Row(status=NOT_FETCHED, error_message=answer.reason, **came)
        elif isinstance(found, str):
            rows[number] = Row(status=NOT_SHRUNK, error_message=found, **came)
        else:
            came |= {name: getattr(found, name) for name in ("width", "height", "original_width", "original_height")}
            came |= {"sha256": sha256_of(answer.body), "bytes": len(answer.body), "format": kind_of(answer.body)}
            rows[number] = Row(status=SUCCESS, **came, place=spill.put(found.jpeg))
        progress.add(failed=not isinstance(found, Shrunk))

    crawl(urls, fetch, handle)
    assert None not in rows, "a crawl hands every row over"
    return cast(list[Row], rows), spill


def _examiner(fetch: Fetch) -> Callable[[bytes], Shrunk | str]:
    """A function of a body: the picture as it is stored, or why there is none."""
    shrink = make_shrink(fetch)

    def examine(body: bytes) -> Shrunk | str:
        try:
            header = sniff(body)
        except NotAnImageError as error:
            return str(error)
        reason = refusal(header, max_pixels=fetch.max_pixels, max_frames=fetch.max_frames)
        if reason is None and _pixels_after(header, fetch) > fetch.max_pixels:
            reason = "too many pixels"
        return reason or shrink(body, header) or f"undecodable: {header.kind}"

    return examine


def _pixels_after(header: Header, fetch: Fetch) -> float:
    """Pixels of what the resizer makes on its way: a line of 1 × 10,000 pixels grows beyond all bounds."""
    if fetch.resize_only_if_bigger or fetch.resize_mode not in ("keep_ratio", "center_crop"):
        return 0
    sides = header.width, header.height
    return fetch.image_size**2 * max(sides) / min(sides)


class _ProgressFile:
    """Writes "done failed" for the stage to read, at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._done = self._failed = 0
        self._next = 0.0

    def add(self, *, failed: bool) -> None:
        with self._lock:
            self._done, self._failed = self._done + 1, self._failed + failed
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + 1
                write_text(self._path, f"{self._done} {self._failed}")


def _table(pairs: pa.Table, rows: list[Row], shard: Shard) -> pa.Table:
    """IMAGES in list order, then the columns that came along; one of an IMAGES name becomes `given_…`."""
    captions = pairs["captions"].cast(CAPTIONS)
    found = {
        name: [getattr(row, name) for row in rows] for name in IMAGES.names if name in Row.__dataclass_fields__
    } | {
        "key": [f"{shard.name}{number:0{shard.digits}d}" for number in range(len(rows))],
        "caption": [texts[0] if texts else None for texts in captions.to_pylist()],
    }
    known = {"captions": captions, **{name: pairs[name] for name in ("uid", "url", "source")}}
    columns = [
        known[field.name] if field.name in known else pa.array(found[field.name], field.type) for field in IMAGES
    ]
    names = list(IMAGES.names)
    for name in pairs.column_names:
        if name not in known:
            names.append(f"given_{name}" if name in IMAGES.names else name)
            columns.append(pairs[name])
    return pa.table(columns, names=names)


def _write(folder: Path, shard: Shard, table: pa.Table, rows: list[Row], spill: Spill) -> None:
    """All files of the shard, in its own folder."""
    from vlp_core.data.index import index_rows

    with tar_writer(folder, int(shard.name)) as write:
        for start in range(0, len(rows), 256):  # few at a time: rows as Python values take much memory
            batch = table.slice(start, 256).to_pylist()
            for row, meta in zip(rows[start : start + 256], batch, strict=True):
                if row.place is not None:
                    write(spill.get(row.place), meta["key"], meta["caption"], _json_safe(meta))
    spill.close()
    write_table(folder / f"{shard.name}_index.parquet", index_rows(folder / f"{shard.name}.tar", table))
    write_text(folder / f"{shard.name}_stats.json", json.dumps(_stats(rows), indent=4, sort_keys=True))
    attempts = pa.table([table["uid"], [row.attempts for row in rows]], schema=ATTEMPTS)
    write_table(shard.out / ATTEMPTS_FOLDER / f"{shard.name}.parquet", attempts)
    write_table(folder / f"{shard.name}.parquet", table)


def _json_safe(meta: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON knows it: dates become text."""
    return json.loads(json.dumps(meta, default=str))


def _stats(rows: list[Row]) -> dict[str, Any]:
    """img2dataset's numbers of a shard, without its times."""
    statuses = Counter(row.status for row in rows)
    return {
        "count": len(rows),
        "successes": statuses[SUCCESS],
        NOT_FETCHED: statuses[NOT_FETCHED],
        NOT_SHRUNK: statuses[NOT_SHRUNK],
        "status_dict": dict(Counter(row.error_message or SUCCESS for row in rows)),
    }


def shard_files(name: str) -> list[str]:
    """The files of a shard; the Parquet file, which is there only when all are, comes last."""
    return [f"{name}.tar", f"{name}_index.parquet", f"{name}_stats.json", f"{name}.parquet"]


def _publish(folder: Path, shard: Shard) -> None:
    for file in shard_files(shard.name):
        with (folder / file).open("rb") as written:
            os.fsync(written.fileno())
        (folder / file).replace(shard.out / file)
