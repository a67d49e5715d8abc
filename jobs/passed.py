"""The pictures and captions that pass the rules, as arrays."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.copies import Rows
from vlp_core.data.layout import CAPTIONS, VERDICTS, iterate_shards
from vlp_core.files import wide
from vlp_core.uids import hash_texts


@dataclass(frozen=True, kw_only=True, eq=False)
class Passed:
    """What passes, by place; a place is not the picture's row, which counts all that were fetched."""

    rows: Rows
    """[N], ascending."""
    uids: pa.LargeStringArray
    captions: pa.LargeListArray
    """[N]: of each picture those that pass."""
    fetched: int
    digest: str
    """Of the uids of all that were fetched, in their order."""

    @staticmethod
    def read(verdicts: Path) -> "Passed":
        tables, rows, whole, fetched = [], [np.empty(0, np.int64)], hashlib.sha256(), 0
        for table in iterate_shards(verdicts, VERDICTS.names):
            hash_texts(whole, table["uid"])
            passed = pc.is_null(table["rule"])
            tables.append(table.select(["uid", "captions"]).filter(passed))
            rows.append(fetched + np.flatnonzero(passed.to_numpy()))
            fetched += len(table)
        empty = pa.schema([("uid", pa.string()), ("captions", CAPTIONS)]).empty_table()
        table = wide(pa.concat_tables([empty, *tables]))
        del tables
        return Passed(
            rows=np.concatenate(rows),
            uids=table["uid"].combine_chunks(),
            captions=table["captions"].combine_chunks(),
            fetched=fetched,
            digest=whole.hexdigest(),
        )

    @cached_property
    def _place(self) -> Rows:
        """[fetched]: -1 for a row that does not pass."""
        place = np.full(self.fetched, -1, np.int64)
        place[self.rows] = np.arange(len(self.rows))
        return place

    def places(self, rows: Rows) -> Rows:
        """Of rows that pass."""
        return self._place[rows]

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows pass."""
        return self._place[rows] >= 0
