"""A shard that is being fetched: what of it is missing, and what became of the rest."""

from collections.abc import Iterator
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.download_shard import CONDITIONS, Shard, write_shard
from jobs.examine import Examiner
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

    def __init__(self, shard: Shard, examine: Examiner) -> None:
        self.shard, self._examine, self._lock = shard, examine, Lock()
        self._journal = Journal(shard.work)
        uids = self._uids()
        known = self._journal.known(uids, check=True)
        self._missing = np.flatnonzero([outcome is None for outcome in known])
        self._count, self._done = len(uids), len(uids) - len(self._missing)
        self._failed = sum(_failed(outcome) for outcome in known if outcome is not None)

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows are known, and how many of them failed."""
        return self._done, self._failed

    @property
    def is_whole(self) -> bool:
        return self._done == self._count

    def links(self) -> Iterator[tuple[Row, Link]]:
        """What is to be asked for, in list order."""
        pairs = self._read("uid", "url", *CONDITIONS)
        for start in range(0, len(self._missing), _AT_ONCE):
            numbers = self._missing[start : start + _AT_ONCE]
            for number, row in zip(numbers, _rows(pairs, numbers).to_pylist(), strict=True):
                link = Link(row["url"], *(() if self._examine.looks else (row.get("etag"), row.get("last_modified"))))
                yield Row(self, int(number), row["uid"], link, row.get("earlier_sha256")), link

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
            outcomes = self._journal.known(self._uids())
            write_shard(self.shard, [outcome for outcome in outcomes if outcome], self._journal.picture)
        self.drop()

    def drop(self) -> None:
        """Let go of it for good: it is published."""
        self._journal.remove()

    def close(self) -> None:
        self._journal.close()

    def _uids(self) -> list[str]:
        return self._read("uid")["uid"].to_pylist()

    def _read(self, *names: str) -> pa.Table:
        """Those of these columns that its pairs have. They are not kept: many shards may wait for their last link."""
        with pq.ParquetFile(self.shard.pairs) as file:
            here = file.schema_arrow.names
            return file.read([name for name in names if name in here])


def _rows(pairs: pa.Table, numbers: NDArray[np.int64]) -> pa.Table:
    """A stretch is there as it is: pyarrow imports pandas for the first array that it makes of others."""
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return pairs.slice(int(numbers[0]), len(numbers))
    return pairs.take(pa.array(numbers))


def _failed(outcome: Outcome) -> bool:
    return outcome.status not in (SUCCESS, UNCHANGED)
