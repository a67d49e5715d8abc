"""Many links at once: bounded, fair to hosts, and decoding while fetching goes on."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from vlp_core.web.fetcher import Answer, Fetcher, parsed
from vlp_core.web.resolver import Lookup, system_lookup
from vlp_core.web.settings import Fetch

Handle = Callable[[int, Answer], None]


class Turns:
    """Hands out rows so that no host has more than `per_host` in flight and hosts take turns, in list order."""

    def __init__(self, hosts: Sequence[str], per_host: int) -> None:
        self._hosts = hosts
        self._rows: dict[str, deque[int]] = {}
        for row, host in enumerate(hosts):
            self._rows.setdefault(host, deque()).append(row)
        # A host stands in the line once for each row that it may have in flight.
        self._line = deque(list(self._rows) * per_host)

    def take(self) -> int | None:
        """The next row; None where no host is free to be asked."""
        while self._line:
            rows = self._rows[self._line.popleft()]
            if rows:
                return rows.popleft()
        return None

    def give_back(self, row: int) -> None:
        """The row's host is free again."""
        self._line.append(self._hosts[row])


def crawl(urls: Sequence[str], fetch: Fetch, handle: Handle, *, lookup: Lookup = system_lookup) -> None:
    """Fetch all links; `handle(row, answer)` runs in a thread, for each row once, in no order.

    At most `fetch.connections` answers exist at a time. An exception in `handle` ends the crawl and is raised.
    """
    try:
        asyncio.run(_crawl(urls, fetch, handle, lookup))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _crawl(urls: Sequence[str], fetch: Fetch, handle: Handle, lookup: Lookup) -> None:
    turns = Turns([_host(url) for url in urls], fetch.per_host)
    loop = asyncio.get_running_loop()

    async def work() -> None:
        # A worker that finds nobody free may leave: each turn that is out will be given back to one that stays.
        while (row := turns.take()) is not None:
            answer = await fetcher.get(urls[row])
            turns.give_back(row)
            await loop.run_in_executor(pool, handle, row, answer)

    with ThreadPoolExecutor(fetch.threads, thread_name_prefix="decode") as pool:
        async with Fetcher(fetch, lookup=lookup) as fetcher, asyncio.TaskGroup() as group:
            for _ in range(min(fetch.connections, len(urls))):
                group.create_task(work())


def _host(url: str) -> str:
    link = parsed(url)
    return (link and link.raw_host) or ""
