"""A shard that is being fetched: what of it is missing, and what became of the rest."""

from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.download_shard import CONDITIONS, Shard, write_shard
from jobs.examine import Examine
from jobs.journal import Journal, Outcome
from vlp_core.data.layout import SUCCESS, UNCHANGED
from vlp_core.web.link import Answer, Link

_AT_ONCE = 512  # links as Python values


class Row(NamedTuple):
    """By what an answer finds the row that it is for."""

    shard: "OpenShard"
    number: int
    uid: str
    link: Link
    earlier_sha256: str | None


class OpenShard:
    """Reads the rows of a shard that no attempt has the answers of, takes answers in any order, and writes the shard.

    `links` is for one thread, `take` for any. BlockingIOError where another worker has the shard.
    """

    def __init__(self, shard: Shard, examine: Examine) -> None:
        self.shard, self._examine, self._lock = shard, examine, Lock()
        self._journal = Journal(shard.work)
        with pq.ParquetFile(shard.pairs) as file:
            here = file.schema_arrow.names
            self._pairs = file.read(["uid", "url", *(name for name in CONDITIONS if name in here)])
        uids = self._pairs["uid"].to_pylist()
        known = self._journal.known(uids, check=True)
        self._missing = np.flatnonzero([outcome is None for outcome in known])
        self._done = len(uids) - len(self._missing)
        self._failed = sum(_failed(outcome) for outcome in known if outcome is not None)

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows are known, and how many of them failed."""
        return self._done, self._failed

    @property
    def is_whole(self) -> bool:
        return self._done == len(self._pairs)

    def links(self) -> Iterator[tuple[Row, Link]]:
        """What is to be asked for, in list order."""
        for start in range(0, len(self._missing), _AT_ONCE):
            numbers = self._missing[start : start + _AT_ONCE]
            for number, row in zip(numbers, self._rows(numbers).to_pylist(), strict=True):
                link = Link(row["url"], row.get("etag"), row.get("last_modified"))
                yield Row(self, int(number), row["uid"], link, row.get("earlier_sha256")), link

    def _rows(self, numbers: NDArray[np.int64]) -> pa.Table:
        """A stretch is there as it is: pyarrow imports pandas for the first array that it makes of others."""
        if numbers[-1] - numbers[0] + 1 == len(numbers):
            return self._pairs.slice(int(numbers[0]), len(numbers))
        return self._pairs.take(pa.array(numbers))

    def take(self, row: Row, answer: Answer) -> bool:
        """Write down what became of a row; whether it was the last one."""
        outcome, picture = self._examine(answer, row.link, row.earlier_sha256)
        self._journal.put(row.number, row.uid, outcome, picture)
        with self._lock:
            self._done += 1
            self._failed += _failed(outcome)
            return self.is_whole

    def publish(self) -> None:
        """Write the shard, of which every row is known."""
        if not self.shard.is_published:
            outcomes = self._journal.known(self._pairs["uid"].to_pylist())
            write_shard(self.shard, [outcome for outcome in outcomes if outcome], self._journal.picture)
        self._journal.remove()

    def close(self) -> None:
        self._journal.close()


def _failed(outcome: Outcome) -> bool:
    return outcome.status not in (SUCCESS, UNCHANGED)
