"""A shard that is being fetched: what of it is missing, and what became of the rest."""

import time
from collections.abc import Generator
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.download_shard import CONDITIONS, NOT_FETCHED, Shard, write_shard
from jobs.examine import Examiner
from jobs.journal import Journal, Outcome
from jobs.never_store import REASON as REFUSED
from vlp_core.data.layout import SUCCESS, UNCHANGED
from vlp_core.data.purged import TAKEN_REASON
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
        self._withdraw(uids, known)
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

    def links(self) -> Generator[tuple[Row, Link], None, bool]:
        """What is to be asked for, in list order; what is taken down by now is left out. Returns whether the last row
        was known by that."""
        pairs, last = self._read("uid", "url", *CONDITIONS), False
        for start in range(0, len(self._missing), _AT_ONCE):
            numbers = self._missing[start : start + _AT_ONCE]
            rows = _rows(pairs, numbers)
            urls = rows["url"]
            edition = self._examine.edition  # before it is asked by which: that may change in between
            down = self._examine.taken_down(urls)
            for at, (number, row) in enumerate(zip(numbers, rows.to_pylist(), strict=True)):
                if self._examine.edition is not edition:  # since the one before was drawn
                    edition, down = self._examine.edition, self._examine.taken_down(urls)
                if down[at]:
                    last = self._put(int(number), row["uid"], _without(TAKEN_REASON))
                    continue
                link = Link(row["url"], *(() if self._examine.looks else (row.get("etag"), row.get("last_modified"))))
                yield Row(self, int(number), row["uid"], link, row.get("earlier_sha256")), link
        return last

    def take(self, row: Row, answer: Answer) -> bool:
        """Write down what became of a row; whether it was the last one."""
        outcome, picture = self._examine(answer, row.link, row.earlier_sha256)
        return self._put(row.number, row.uid, outcome, picture)

    def _put(self, number: int, uid: str, outcome: Outcome, picture: bytes | None = None) -> bool:
        self._journal.put(number, uid, outcome, picture)
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

    def _withdraw(self, uids: list[str], known: list[Outcome | None]) -> None:
        """Of the pictures that came before a kill, those that were taken down since are not stored."""
        came = [(number, outcome) for number, outcome in enumerate(known) if outcome is not None and outcome.place]
        if not came:
            return
        urls = self._read("url")["url"].take(pa.array([number for number, _ in came]))
        led = pa.array([outcome.final_url for _, outcome in came], pa.string())
        gone = self._examine.taken_down(urls) | self._examine.taken_down(led)
        for (number, outcome), down in zip(came, gone, strict=True):
            if down or self._examine.refuses(outcome):
                left = known[number] = _without(TAKEN_REASON if down else REFUSED, outcome)
                self._journal.put(number, uids[number], left)

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


def _without(reason: str, came: Outcome | None = None) -> Outcome:
    """A row that is to have no picture: its link is not asked for, or what came of it is not kept."""
    if came is None:
        return Outcome(status=NOT_FETCHED, error_message=reason, attempts=0, asked=int(1000 * time.time()))
    return Outcome(
        status=NOT_FETCHED,
        error_message=reason,
        attempts=came.attempts,
        asked=came.asked,
        http_status=came.http_status,
        final_url=came.final_url,
    )


def _failed(outcome: Outcome) -> bool:
    return outcome.status not in (SUCCESS, UNCHANGED)
