"""A release as arrays: what the next one finds there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlp_core.data.adopted import Place, find_place, read_place
from vlp_core.data.layout import LEDGER, SUCCESS, shard_names
from vlp_core.data.releases import QUARANTINE, QUARANTINE_FILE, QUARANTINED, RELEASE_LEDGER_FOLDER, TAKEN_DOWN
from vlp_core.data.spread import select_as
from vlp_core.data.takedowns import Mask, Takedowns
from vlp_core.errors import UserError, first_line
from vlp_core.uids import Words, names
from vlp_core.web.reasons import class_of

FAILED, PICTURE, IN_QUARANTINE, DOWN = range(4)
_CODES = {SUCCESS: PICTURE, QUARANTINED: IN_QUARANTINE, TAKEN_DOWN: DOWN}

# What is known of a link that is asked again, beside its row among the pairs; null throughout for a new one. `failure`
# is the class of what its row says, why it has no picture, where the ledger's is of the last answer.
# `held_…`: the picture that a new one is compared with: the release's, or the one from before the quarantine.
BEFORE = pa.schema(
    [
        *LEDGER,
        ("status", pa.int8()),
        ("held_sha256", pa.string()),
        ("held_file", pa.string()),
        ("held_offset", pa.int64()),
        ("held_length", pa.int64()),
    ]
)
BEFORE_FOLDER = "before"


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """The rows of a release over all its shards: uids uint64 [M, 2] and codes int8 [M] of what they are."""

    folder: Path | None
    shards: list[str]
    starts: NDArray[np.int64]
    """[S + 1]: where each shard begins."""
    uids: Words
    codes: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.codes)

    @staticmethod
    def read(folder: Path | None) -> "Held":
        """Of a release's folder; of None, before the first one, nothing."""
        found = [] if folder is None else shard_names(folder)
        uids, codes, starts = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int8)], [0]
        for name in found:
            assert folder is not None
            rows = read_columns(folder / f"{name}.parquet", ["uid", "status"])
            uids.append(names(rows["uid"]))
            codes.append(codes_of(rows["status"]))
            starts.append(starts[-1] + len(rows))
        return Held(
            folder=folder,
            shards=found,
            starts=np.array(starts, np.int64),
            uids=np.concatenate(uids),
            codes=np.concatenate(codes),
        )

    def parts(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, slice, NDArray[np.int64]]]:
        """Of rows in ascending order, those of each shard that has some: its name, where they stand among `rows`, and
        their places in the shard."""
        cuts = np.searchsorted(rows, self.starts)
        for number, name in enumerate(self.shards):
            if cuts[number] < cuts[number + 1]:
                inside = slice(int(cuts[number]), int(cuts[number + 1]))
                yield name, inside, rows[inside] - self.starts[number]

    def table(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Columns of a shard's rows."""
        assert self.folder is not None
        return read_columns(self.folder / f"{name}.parquet", columns)

    def ledger(self, name: str, columns: Sequence[str] = tuple(LEDGER.names)) -> pa.Table:
        assert self.folder is not None
        return read_as(self.folder / RELEASE_LEDGER_FOLDER / f"{name}.parquet", LEDGER, columns)

    def place(self, name: str) -> Place:
        """Where the pictures of a shard lie."""
        return place_of(self.folder, name)

    def quarantine(self) -> pa.Table:
        return QUARANTINE.empty_table() if self.folder is None else read_as(self.folder / QUARANTINE_FILE, QUARANTINE)

    def gone(self, takedowns: Takedowns) -> tuple[Mask, Mask]:
        """bool [M], twice: rows whose link is taken down; and those whose picture is, by itself or by where it came
        from, and was not before."""
        link, picture = np.zeros(len(self), dtype=bool), np.zeros(len(self), dtype=bool)
        for number, name in enumerate(self.shards if takedowns else ()):
            part = slice(self.starts[number], self.starts[number + 1])
            rows = self.table(name, ["url", "final_url", "sha256"])
            link[part] = takedowns.of_urls(rows["url"])
            shown = takedowns.of_urls(rows["final_url"]) | takedowns.of_pictures(rows["sha256"])
            waiting = self.codes[part] == IN_QUARANTINE  # the row says nothing of the picture; the ledger does
            if waiting.any():
                told = self.ledger(name, ["final_url", "sha256"])
                shown |= waiting & (takedowns.of_urls(told["final_url"]) | takedowns.of_pictures(told["sha256"]))
            picture[part] = shown & ~link[part] & (self.codes[part] != DOWN)
        return link, picture

    def before(self, name: str, rows: NDArray[np.int64], quarantine: pa.Table) -> pa.Table:
        """BEFORE of some rows of a shard, in their order."""
        assert self.folder is not None
        at = pa.array(rows)
        ledger = self.ledger(name).take(at)
        index = read_columns(self.folder / f"{name}_index.parquet", ["uid", "sha256", "offset", "length"])
        here = index.take(pc.index_in(ledger["uid"], value_set=_one(index["uid"])))
        kept = quarantine.take(pc.index_in(ledger["uid"], value_set=_one(quarantine["uid"])))
        file = pc.if_else(pc.is_valid(here["sha256"]), self.place(name).file, kept["before_file"])
        held = {f"held_{end}": pc.coalesce(here[end], kept[f"before_{end}"]) for end in ("sha256", "offset", "length")}
        columns = {name: ledger[name] for name in LEDGER.names} | held | {"held_file": file}
        said = self.table(name, ["status", "error_message"]).take(at)
        columns["status"] = pa.array(codes_of(said["status"]))
        columns["failure"] = _classes(said["error_message"])
        return select_as(pa.table(columns), BEFORE)


def place_of(folder: Path | None, name: str) -> Place:
    """Where the pictures of a release's shard lie. UserError where it does not say."""
    assert folder is not None
    path = find_place(folder, name)
    if path is None:
        raise UserError(f"{folder}: does not say where the pictures of {name} lie; the release is damaged")
    return read_place(path)


def codes_of(status: pa.ChunkedArray) -> NDArray[np.int8]:
    """What rows of these statuses are."""
    at = pc.index_in(status, value_set=pa.array(list(_CODES)))
    codes = np.append(np.array(list(_CODES.values()), np.int8), np.int8(FAILED))
    return codes[pc.fill_null(at, -1).to_numpy()]


def read_columns(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """UserError where a file of a release cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=None if columns is None else list(columns))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not readable ({first_line(error)}); the release is damaged") from error


def read_as(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """As a schema has them: Parquet keeps no seconds."""
    return select_as(read_columns(path, columns or schema.names), schema, columns)


def _classes(reasons: pa.ChunkedArray) -> pa.Array:
    """The classes of reasons, of which there are few."""
    found = pc.dictionary_encode(_one(reasons))
    return pa.array(map(class_of, found.dictionary.to_pylist()), pa.string()).take(found.indices)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
