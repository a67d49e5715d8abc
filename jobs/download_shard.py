"""The files of one shard of pictures, in list order: img2dataset's layout, published whole or not at all."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.journal import Outcome, Place
from vlp_core.data.index import index_rows
from vlp_core.data.layout import CAPTIONS, FINAL, IMAGES, LEDGER, LEDGER_FOLDER, MAY_PASS, SUCCESS, UNCHANGED
from vlp_core.data.tar_writer import TarWriter
from vlp_core.files import write_table, write_text
from vlp_core.web.reasons import class_of, may_pass

WORK = "_work"  # what is not whole yet; its name keeps it out of the step's record
NOT_FETCHED = "failed_to_download"  # img2dataset's names
NOT_STORED = "failed_to_resize"
CONDITIONS = ("etag", "last_modified", "earlier_sha256")
"""Columns of pairs that say what an earlier answer was: they are asked with, and do not come along."""
_AT_ONCE = 256  # rows as Python values take much memory


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Which shard it is: its name, its rows, where it goes, and how many digits a row has in a key."""

    name: str
    pairs: Path
    out: Path
    digits: int

    @property
    def work(self) -> Path:
        """Where it is kept until it is whole."""
        return self.out / WORK / self.name

    @property
    def is_published(self) -> bool:
        return (self.out / f"{self.name}.parquet").exists()


def shard_files(name: str) -> list[str]:
    """The files of a shard; the Parquet file, which is there only when all are, comes last."""
    return [f"{name}.tar", f"{name}_index.parquet", f"{name}_stats.json", f"{name}.parquet"]


def write_shard(shard: Shard, outcomes: Sequence[Outcome], picture: Callable[[Place], bytes]) -> None:
    """Write and publish a shard whose every row is known; `picture` reads one from where it was kept."""
    table = _table(shard, outcomes)
    with TarWriter(shard.work / f"{shard.name}.tar") as tar:
        for start in range(0, len(outcomes), _AT_ONCE):
            rows = table.slice(start, _AT_ONCE).to_pylist()
            for row, outcome in zip(rows, outcomes[start : start + _AT_ONCE], strict=True):
                if outcome.place is not None:
                    tar.add(f"{row['key']}.jpg", picture(outcome.place))
                    tar.add(f"{row['key']}.json", json.dumps(row, default=str).encode())
                    tar.add(f"{row['key']}.txt", (row["caption"] or "").encode())
    write_table(shard.work / f"{shard.name}_index.parquet", index_rows(shard.work / f"{shard.name}.tar", table))
    write_text(shard.work / f"{shard.name}_stats.json", json.dumps(_stats(outcomes), indent=4, sort_keys=True))
    write_table(shard.work / f"{shard.name}.parquet", table)
    write_table(shard.out / LEDGER_FOLDER / f"{shard.name}.parquet", _ledger(table["uid"], outcomes))
    for file in shard_files(shard.name):
        with (shard.work / file).open("rb") as written:
            os.fsync(written.fileno())
        (shard.work / file).replace(shard.out / file)


def _table(shard: Shard, outcomes: Sequence[Outcome]) -> pa.Table:
    """IMAGES in list order, then the columns that came along; one of an IMAGES name becomes `given_…`."""
    with pq.ParquetFile(shard.pairs) as file:
        pairs = file.read()
    captions = pairs["captions"].cast(CAPTIONS)
    columns: dict[str, Any] = {name: pairs[name] for name in ("uid", "url", "source")}
    columns |= {
        "captions": captions,
        "caption": [texts[0] if texts else None for texts in captions.to_pylist()],
        "key": [f"{shard.name}{number:0{shard.digits}d}" for number in range(len(outcomes))],
        "sha256": [outcome.sha256 if outcome.status in (SUCCESS, UNCHANGED) else None for outcome in outcomes],
    }
    columns |= {name: _column(name, outcomes) for name in IMAGES.names if name not in columns}
    for name in pairs.column_names:
        if name not in ("uid", "url", "source", "captions", *CONDITIONS):
            columns[f"given_{name}" if name in IMAGES.names else name] = pairs[name]
    fields = {name: columns.pop(name) for name in IMAGES.names}
    return pa.table(
        [_as(field.type, fields[field.name]) for field in IMAGES] + list(columns.values()),
        names=[*IMAGES.names, *columns],
    )


def _column(name: str, outcomes: Sequence[Outcome]) -> list[Any]:
    return [getattr(outcome, name) for outcome in outcomes]


def _as(kind: pa.DataType, values: Any) -> pa.ChunkedArray | pa.Array:
    return pa.array(values, kind) if isinstance(values, list) else values.cast(kind)


def _ledger(uids: pa.ChunkedArray, outcomes: Sequence[Outcome]) -> pa.Table:
    reasons = _column("error_message", outcomes)
    asked = pa.array(_column("asked", outcomes), pa.timestamp("ms", tz="UTC"))
    columns: dict[str, Any] = {
        "uid": uids,
        "first_asked": asked,
        "last_asked": asked,
        "outcome": [_ends(outcome) for outcome in outcomes],
        "failure": [reason and class_of(reason) for reason in reasons],
        "reason": reasons,
    }
    columns |= {name: _column(name, outcomes) for name in LEDGER.names if name not in columns}
    return pa.table([_as(field.type, columns[field.name]) for field in LEDGER], schema=LEDGER)


def _ends(outcome: Outcome) -> str:
    """Whether asking again may help."""
    if outcome.error_message is None:
        return outcome.status
    return MAY_PASS if may_pass(outcome.error_message) else FINAL


def _stats(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """img2dataset's numbers of a shard, without its times."""
    statuses = Counter(outcome.status for outcome in outcomes)
    return {
        "count": len(outcomes),
        "successes": statuses[SUCCESS],
        NOT_FETCHED: statuses[NOT_FETCHED],
        NOT_STORED: statuses[NOT_STORED],
        "status_dict": dict(Counter(outcome.error_message or outcome.status for outcome in outcomes)),
    }
