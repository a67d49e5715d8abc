"""The shards of a release: of each tar, the rows that are the release's, with what the list says of them today."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.download_shard import WORK
from jobs.held import read_as, read_columns
from vlp_core.data.adopted import Place, write_place
from vlp_core.data.layout import IMAGES, INDEX, LEDGER, SUCCESS, shard_name
from vlp_core.data.releases import CHANGES, QUARANTINED, RELEASE_LEDGER_FOLDER, TAKEN_DOWN
from vlp_core.data.spread import read_bucket, select_as
from vlp_core.errors import UserError
from vlp_core.files import write_table
from vlp_core.identity import sha256_of_file
from vlp_core.texts import as_text

SHOWN, HELD_BACK, HIDDEN = range(3)  # flags of rows: as they were fetched, in quarantine, taken down
_SAID = {HELD_BACK: (QUARANTINED, "quarantined"), HIDDEN: (TAKEN_DOWN, "taken down")}
_STAY = ("key", "url", "caption", "uid", "captions", "source", "status", "error_message")
LICENCES = ("license", "licence", "license_url", "rights")
CAPTIONS_FOLDER = "captions"
_BETWEEN = "\x1f"

# Of each pair that is the release's: in which tar its row stands, and its flag; then the columns of the list, which
# may have any names.
TARGET, FLAG = "\x1ftarget", "\x1fflag"
PLACED = ((TARGET, pa.int32()), (FLAG, pa.int8()))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A tar that has rows of the release: its number there, and the shard of the release before that read it, or the
    one that was fetched now."""

    number: int
    target: int
    tar: str
    size: int
    held: str | None
    judged: str | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A bucket of rows and one of what they were asked anew, the tars they stand in, and where things are."""

    rows: Path
    asked: Path
    targets: tuple[Target, ...]
    held: Path | None
    judged: Path
    out: Path


@dataclass(kw_only=True)
class Tally:
    """What is in some shards; digests are of each shard's rows and index."""

    rows: int = 0
    pictures: int = 0
    captions: int = 0
    other_captions: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    digests: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        self.rows += other.rows
        self.pictures += other.pictures
        self.captions += other.captions
        self.other_captions += other.other_captions
        self.reasons += other.reasons
        self.sources += other.sources
        self.licences += other.licences
        self.digests |= other.digests


def write_bucket(task: Task) -> Tally:
    """Write the shards of a bucket: rows, index, ledger, and where their pictures lie."""
    listed, asked, tally = read_bucket(task.rows), read_bucket(task.asked), Tally()
    for target in task.targets:
        mine = listed.filter(pc.equal(listed[TARGET], target.target))
        anew = asked.filter(pc.equal(asked[TARGET], target.target))
        _write(task, target, mine, anew, tally)
    return tally


def _write(task: Task, target: Target, listed: pa.Table, asked: pa.Table, tally: Tally) -> None:
    name, tar = shard_name(target.number), Path(target.tar)
    rows = _rows(tar, listed)
    shown = rows.filter(pc.equal(rows["status"], SUCCESS))
    index = _index(tar, shown)
    write_place(task.out, name, Place(file=target.tar, size=target.size))
    write_table(task.out / RELEASE_LEDGER_FOLDER / f"{name}.parquet", _ledger(task, target, rows["uid"], asked))
    write_table(task.out / f"{name}_index.parquet", index)
    write_table(task.out / f"{name}.parquet", rows)
    if target.held is not None:
        other = _other_captions(task, target.held, shown)
        tally.other_captions += len(other)
        if len(other):
            write_table(task.out / WORK / CAPTIONS_FOLDER / f"{name}.parquet", other)
    tally.digests[name] = [sha256_of_file(task.out / f"{name}{end}.parquet") for end in ("", "_index")]
    tally.rows += len(rows)
    tally.pictures += len(shown)
    tally.captions += pc.sum(pc.list_value_length(shown["captions"]), min_count=0).as_py()
    tally.reasons += _counted(rows["error_message"])
    tally.sources += _counted(shown["source"])
    for column in shown.column_names:
        if column.lower() in LICENCES:
            tally.licences += _counted(as_text(shown[column]))


def _rows(tar: Path, listed: pa.Table) -> pa.Table:
    """IMAGES in the order of the tar, with today's captions and further columns; what is not shown says why alone."""
    fetched = select_as(read_columns(tar.with_suffix(".parquet")), IMAGES)
    at = pc.index_in(fetched["uid"], value_set=listed["uid"].combine_chunks())
    rows, listed = fetched.filter(pc.is_valid(at)), listed.take(pc.drop_null(at))
    if len(rows) != len(listed):
        raise UserError(f"{tar.with_suffix('.parquet')}: lacks rows that the release before has; it is damaged")
    kind = IMAGES.field("captions").type
    gone = pc.equal(listed[FLAG], HIDDEN)  # the list may have captions of it still
    captions = pc.if_else(gone, pa.scalar([], kind), listed["captions"].cast(kind))
    columns = {name: rows[name] for name in IMAGES.names}
    columns |= {"captions": captions, "caption": firsts_of(captions), "source": listed["source"]}
    hidden = pc.greater(listed[FLAG], SHOWN)
    for flag, (status, message) in _SAID.items():
        here = pc.equal(listed[FLAG], flag)
        columns["status"] = pc.if_else(here, status, columns["status"])
        columns["error_message"] = pc.if_else(here, message, columns["error_message"])
    for column in IMAGES:
        if column.name not in _STAY:
            columns[column.name] = pc.if_else(hidden, pa.scalar(None, column.type), columns[column.name])
    ours = {*IMAGES.names, *(name for name, _ in PLACED)}
    said = pa.array(np.arange(len(listed)), mask=gone.to_numpy())
    further = {name: listed[name].take(said) for name in listed.column_names if name not in ours}
    return pa.table(columns).cast(IMAGES).combine_chunks() if not further else _joined(columns, further)


def _joined(columns: dict[str, pa.ChunkedArray], further: dict[str, pa.ChunkedArray]) -> pa.Table:
    table = pa.table(columns).cast(IMAGES)
    for name, column in further.items():
        table = table.append_column(name, column)
    return table.combine_chunks()


def firsts_of(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first caption of each list; null for an empty one."""
    none = pa.scalar([None], captions.type)
    return pc.list_element(pc.if_else(pc.greater(pc.list_value_length(captions), 0), captions, none), 0)


def _index(tar: Path, shown: pa.Table) -> pa.Table:
    index = read_columns(tar.with_name(f"{tar.stem}_index.parquet"), INDEX.names)
    at = pc.index_in(shown["uid"], value_set=index["uid"].combine_chunks())
    if at.null_count:
        raise UserError(f"{tar}: its index lacks pictures that the release before has; it is damaged")
    found = index.take(at)
    return found.set_column(found.column_names.index("captions"), INDEX.field("captions"), shown["captions"]).cast(
        INDEX
    )


def _ledger(task: Task, target: Target, uids: pa.ChunkedArray, asked: pa.Table) -> pa.Table:
    """Of rows that were asked now what was said, of others what the release before has."""
    known: list[pa.Table] = [select_as(asked, LEDGER)]
    if target.held is not None:
        assert task.held is not None
        known.append(read_as(task.held / RELEASE_LEDGER_FOLDER / f"{target.held}.parquet", LEDGER))
    if target.judged is not None:
        known.append(read_as(task.judged / f"{target.judged}.parquet", LEDGER))
    whole = pa.concat_tables(known)
    return whole.take(pc.index_in(uids, value_set=whole["uid"].combine_chunks()))


def _other_captions(task: Task, held: str, shown: pa.Table) -> pa.Table:
    """CHANGES of pictures that were there, with other captions."""
    assert task.held is not None
    before = read_columns(task.held / f"{held}.parquet", ["uid", "status", "captions"])
    before = before.filter(pc.equal(before["status"], SUCCESS))
    at = pc.index_in(shown["uid"], value_set=before["uid"].combine_chunks())
    here, there = shown.filter(pc.is_valid(at)), before.take(pc.drop_null(at))
    joined = (pc.binary_join(table["captions"].combine_chunks(), _BETWEEN) for table in (here, there))
    other = here.filter(pc.not_equal(*joined)) if len(here) else here
    change = pa.array(np.full(len(other), "captions"), pa.string())
    return pa.table([other["uid"], other["url"], change], schema=CHANGES)


def _counted(column: pa.ChunkedArray) -> Counter[str]:
    counts = pc.value_counts(column.drop_null())
    return Counter({item["values"]: item["counts"] for item in counts.to_pylist()})


def common(counter: Counter[str], most: int) -> Sequence[tuple[str, int]]:
    """The commonest, in an order that does not depend on who counted first."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:most]
