"""What becomes of each link of a shard that was fetched for a release: taken, left as it was, or put in quarantine."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.held import BEFORE, BEFORE_FOLDER, IN_QUARANTINE, PICTURE, read_as, read_columns
from jobs.never_store import REASON as NEVER_STORED
from vlp_core.curation.hashes import colours, hamming, phash, thumbnail
from vlp_core.curation.listed import has_sha256, said_phashes, says_sha256
from vlp_core.curation.settings import Near
from vlp_core.data.index import Reader
from vlp_core.data.layout import FINAL, LEDGER, LEDGER_FOLDER, MAY_PASS, SUCCESS, UNCHANGED
from vlp_core.data.ledgers import merged
from vlp_core.data.releases import QUARANTINE
from vlp_core.data.spread import select_as
from vlp_core.data.takedowns import Mask, Takedowns
from vlp_core.files import write_table
from vlp_core.identity import sha256_of
from vlp_core.web.reasons import class_of, may_pass

# What becomes of a row: it is the release's (a picture, or why there is none); what was there stays; its picture waits;
# its picture is taken down; its link is.
TAKE, KEEP, WAIT, HIDE, DROP = range(5)
ADDED, CHANGED, REMOVED, WAITING, TAKEN = "added", "changed", "removed", "quarantined", "taken_down"

JUDGED = pa.schema([*LEDGER, ("url", pa.string()), ("verdict", pa.int8()), ("change", pa.string())])
WAITING_FOLDER = "waiting"

OTHER_THAN_BEFORE = "another picture than before"
OTHER_THAN_LISTED = "another picture than the list's sha256"
OPTED_OUT = "opted_out"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A fetched shard, what was before (None: nothing), tombstones, and where the verdicts go."""

    fetched: Path
    name: str
    changes: Path | None
    takedowns: Path | None
    near: Near
    as_of: str
    out: Path


def judge(task: Task) -> str:
    """Write JUDGED of a shard's rows, in their order, and QUARANTINE of those that wait; returns its name."""
    case = _Case.read(task)
    verdict, reason = case.verdicts()
    write_table(task.out / f"{task.name}.parquet", case.judged(verdict))
    write_table(task.out / WAITING_FOLDER / f"{task.name}.parquet", case.waiting(verdict, reason))
    return task.name


@dataclass(frozen=True, kw_only=True, eq=False)
class _Case:
    """The rows of a shard with where their pictures lie, beside what was before."""

    task: Task
    rows: pa.Table
    index: pa.Table
    """INDEX of each row, null where it has no picture."""
    ledger: pa.Table
    before: pa.Table
    down: Takedowns
    reader: Reader = field(default_factory=lambda: Reader(open_files=16))

    @staticmethod
    def read(task: Task) -> "_Case":
        rows = read_columns(task.fetched / f"{task.name}.parquet")
        index = read_columns(task.fetched / f"{task.name}_index.parquet")
        before = pa.table([pa.nulls(len(rows), column.type) for column in BEFORE], schema=BEFORE)
        if task.changes is not None:
            before = read_as(task.changes / BEFORE_FOLDER / f"{task.name}.parquet", BEFORE)
        return _Case(
            task=task,
            rows=rows,
            index=index.take(pc.index_in(rows["uid"], value_set=index["uid"].combine_chunks())),
            ledger=ledger_of(task.fetched, task.name, rows, task.as_of),
            before=before,
            down=Takedowns.read(task.takedowns),
        )

    def verdicts(self) -> tuple[NDArray[np.int8], NDArray[np.object_]]:
        """The verdict on each row, and for those that wait the reason."""
        status, known = self.rows["status"], pc.fill_null(self.before["status"], -1).to_numpy()
        came, same = _is(status, SUCCESS), _is(status, UNCHANGED)
        held, waits = known == PICTURE, known == IN_QUARANTINE
        as_before = _equal(self.rows["sha256"], self.before["held_sha256"])
        as_waiting = _equal(self.rows["sha256"], self.before["sha256"])
        kept = same | (held & came & as_before) | (waits & came & as_waiting & ~as_before)
        kept |= (held | waits) & ~came & ~self._unwanted()
        verdict = np.where(kept, KEEP, TAKE).astype(np.int8)
        reason = np.full(len(verdict), None, np.object_)
        unsure = came & ~kept & ~as_before & ~has_sha256(self.rows)
        old = pc.is_valid(self.before["held_sha256"]).to_numpy()
        for mask, why, near in (
            (unsure & old, OTHER_THAN_BEFORE, self._near_before),
            (unsure & ~old & says_sha256(self.rows), OTHER_THAN_LISTED, self._near_listed),
        ):
            rows = np.flatnonzero(mask)
            rows = rows[~near(rows)]
            verdict[rows], reason[rows] = WAIT, why
        shown = self.down.of_urls(self.rows["final_url"]) | self.down.of_pictures(self.rows["sha256"])
        shown |= self._stored_as_taken_down(came & ~shown)
        waits_on = waits & (verdict != TAKE)  # it is another picture than the one before it
        verdict[shown | (self.down.of_pictures(self.before["held_sha256"]) & ~waits_on)] = HIDE
        verdict[self.down.of_urls(self.rows["url"])] = DROP
        return verdict, reason

    def judged(self, verdict: NDArray[np.int8]) -> pa.Table:
        held = _is(self.before["status"], PICTURE)
        came = _is(self.rows["status"], SUCCESS)
        change = np.full(len(verdict), None, np.object_)
        change[(verdict == TAKE) & came] = ADDED
        change[(verdict == TAKE) & came & held] = CHANGED
        change[(verdict == TAKE) & ~came & held] = REMOVED  # it is unwanted
        change[verdict == WAIT] = WAITING
        change[(verdict >= HIDE) & held] = TAKEN
        said = {"url": self.rows["url"], "verdict": pa.array(verdict), "change": pa.array(change, pa.string())}
        ledger = merged(self.ledger, self.before)
        return select_as(pa.table({**{name: ledger[name] for name in LEDGER.names}, **said}), JUDGED)

    def waiting(self, verdict: NDArray[np.int8], reason: NDArray[np.object_]) -> pa.Table:
        rows = pa.array(np.flatnonzero(verdict == WAIT))
        found = {name: self.rows[name].take(rows) for name in ("uid", "url", "sha256")}
        found["reason"] = pa.array(reason[verdict == WAIT], pa.string())
        since = datetime.fromisoformat(self.task.as_of)
        found["since"] = pa.array([since] * len(rows), QUARANTINE.field("since").type)
        found["file"] = pa.array([self._tar] * len(rows), pa.string())
        found |= {name: self.index[name].take(rows) for name in ("offset", "length")}
        found |= {
            f"before_{end}": self.before[f"held_{end}"].take(rows) for end in ("sha256", "file", "offset", "length")
        }
        return select_as(pa.table(found), QUARANTINE)

    @property
    def _tar(self) -> str:
        return str(self.task.fetched / f"{self.task.name}.tar")

    def _unwanted(self) -> Mask:
        """Whether the owner wants it left out, or it must never be stored."""
        return _is(self.ledger["failure"], OPTED_OUT) | _is(self.ledger["reason"], NEVER_STORED)

    def _stored_as_taken_down(self, came: Mask) -> Mask:
        """Which of these are stored as a picture that is taken down, whatever body they came in."""
        down = np.zeros(len(came), dtype=bool)
        if len(self.down.sha256):
            stored = [sha256_of(self._picture(row)) for row in np.flatnonzero(came).tolist()]
            down[came] = self.down.of_pictures(pa.array(stored, pa.string()))
        return down

    def _near_before(self, rows: NDArray[np.int64]) -> Mask:
        """Whether the pictures of these rows look like those that were there."""
        old = [(Path(file), at, length) if file else None for file, at, length in self._places(rows)]
        return np.array(
            [place is not None and self._near(row, place) for row, place in zip(rows, old, strict=True)], bool
        )

    def _places(self, rows: NDArray[np.int64]) -> list[tuple[str, int, int]]:
        names = ("held_file", "held_offset", "held_length")
        return list(zip(*(self.before[name].take(pa.array(rows)).to_pylist() for name in names), strict=True))

    def _near(self, row: int, place: tuple[Path, int, int]) -> bool:
        new, old = self._small(row), thumbnail(self.reader.read(*place))
        bits = hamming(np.array([phash(new)]), np.array([phash(old)]))[0]
        return bool(bits <= self.task.near.bits and _colours_apart(new, old) <= self.task.near.colour)

    def _small(self, row: int) -> NDArray[np.uint8]:
        return thumbnail(self._picture(row))

    def _picture(self, row: int) -> bytes:
        offset, length = (self.index[name][row].as_py() for name in ("offset", "length"))
        return self.reader.read(Path(self._tar), offset, length)

    def _near_listed(self, rows: NDArray[np.int64]) -> Mask:
        """Whether the pictures of these rows have nearly the perceptual hash that the list has for them."""
        near = np.zeros(len(rows), dtype=bool)
        for at, known in enumerate(said_phashes(self.rows.take(pa.array(rows)))):
            if known is not None:
                apart = hamming(np.array([phash(self._small(rows[at]))]), np.array([known], np.uint64))
                near[at] = apart[0] <= self.task.near.bits
        return near


def _colours_apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean absolute difference of two thumbnails' colour signatures, in steps of 0..255."""
    mine, theirs = (np.frombuffer(colours(small), np.uint8).astype(np.int16) for small in (one, other))
    return float(np.abs(mine - theirs).mean())


def ledger_of(fetched: Path, name: str, rows: pa.Table, as_of: str) -> pa.Table:
    """LEDGER of a shard's rows: as it was kept, or what the rows say where that is lost: it is no part of a record."""
    path = fetched / LEDGER_FOLDER / f"{name}.parquet"
    try:
        kept = pq.read_table(path)
        if kept["uid"].equals(rows["uid"]):
            return select_as(kept, LEDGER)
    except (OSError, pa.ArrowException):
        pass
    reasons = pc.dictionary_encode(rows["error_message"].combine_chunks())
    known = reasons.dictionary.to_pylist()

    def said(values: list[str]) -> pa.Array:
        return pa.array(values, pa.string()).take(reasons.indices)

    ends = said([MAY_PASS if may_pass(reason) else FINAL for reason in known])
    asked = pa.array([datetime.fromisoformat(as_of)] * len(rows), LEDGER.field("last_asked").type)
    columns = {name: rows[name] for name in ("uid", "http_status", "final_url", "sha256")} | {
        "attempts": pa.array(np.ones(len(rows), np.int32)),
        "first_asked": asked,
        "last_asked": asked,
        "outcome": pc.coalesce(ends, rows["status"].combine_chunks()),
        "failure": said([class_of(reason) for reason in known]),
        "reason": rows["error_message"],
    }
    return select_as(pa.table(columns), LEDGER)


def _is(column: pa.ChunkedArray, value: object) -> Mask:
    return pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False).to_numpy()


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    return pc.fill_null(pc.equal(left, right), False).to_numpy()
