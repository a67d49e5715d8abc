"""A fetcher: one crawl over many shards, so that the links which one shard waits for keep nobody from the next."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

from jobs.download_shard import Shard
from jobs.examine import Examiner
from jobs.open_shard import OpenShard, Row
from jobs.quiet_codecs import quiet_codecs
from vlp_core.web.link import Answer, Link
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import AsyncBook

PREDECESSOR_S = 60.0
"""How long a worker that was given up may take to let go of its shards."""
OPEN_SHARDS = 128
"""Shards that wait for links at once, or slow hosts with a link in each would decide how many. Of 1,000 links each they
are four times what `lookahead` fills. Each has two descriptors: `vlp_core.web.descriptors` leaves room for them."""
News = dict[str, tuple[int, int]]
"""How many rows of a shard are known, and how many of them failed, by the shard's name."""


class FetchWorker:
    """Fetches shards and publishes each when its last link is in. It holds those alone that wait for links."""

    def __init__(self, fetch: Fetch, book: AsyncBook | None = None, takedowns: Path | None = None) -> None:
        self._fetch, self._book, self._takedowns = fetch, book, takedowns
        self._open: dict[str, OpenShard] = {}
        self._whole: News = {}
        self._lock = Lock()

    def run(self, shards: Iterable[Shard]) -> None:
        """Fetch what is missing of these shards; they are drawn as there is room for their links.

        A shard that another worker has and keeps is left to it. UserError where a file of hashes, or of tombstones,
        cannot be read, OSError where the disk is full; whatever ends it, what is known stays in the journals.
        """
        from vlp_core.web.crawl import crawl

        examine = Examiner(self._fetch, self._takedowns)
        try:
            with quiet_codecs():
                crawl(self._links(shards, examine), self._fetch, self._take, book=self._book, recall=examine)
        finally:
            for opened in self._open.values():
                opened.close()

    def news(self) -> News:
        """How far the shards are that are open, and those that were published since the last call."""
        with self._lock:
            whole, self._whole = self._whole, {}
            return whole | {name: opened.counts for name, opened in self._open.items()}

    def _links(self, shards: Iterable[Shard], examine: Examiner) -> Iterator[tuple[Row, Link] | None]:
        for shard in shards:
            opened = _opened(shard, examine)
            if opened is None:
                continue
            with self._lock:
                self._open[shard.name] = opened
            whole = opened.is_whole  # a kill came between its last link and its last file
            if whole or (yield from opened.links()):
                self._publish(opened)
            while len(self._open) >= OPEN_SHARDS:
                yield None  # for the links of those that are open go on meanwhile

    def _take(self, row: Row, answer: Answer) -> None:
        if row.shard.take(row, answer):
            self._publish(row.shard)

    def _publish(self, opened: OpenShard) -> None:
        opened.publish()
        with self._lock:
            del self._open[opened.shard.name]
            self._whole[opened.shard.name] = opened.counts


def _opened(shard: Shard, examine: Examiner) -> OpenShard | None:
    """A shard to work on; None where it is published, by whoever has it or had it."""
    give_up = time.monotonic() + PREDECESSOR_S
    while not shard.is_published:
        try:
            opened = OpenShard(shard, examine)
        except BlockingIOError:
            if time.monotonic() > give_up:
                return None
            time.sleep(0.1)
            continue
        if not shard.is_published:
            return opened
        opened.drop()  # it was published since it was looked at, and this journal is a new one
    return None
