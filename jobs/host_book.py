"""The book of hosts as an actor, for fetchers that share a cluster: no host is asked faster because many ask it."""

import time
from collections.abc import Sequence
from typing import Any

from vlp_core.web.hosts import Book
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import Ask, Grant, Report


class HostBook:
    """The actor. One that was lost begins anew: pauses are forgotten, and robots.txt is read again."""

    def __init__(self, fetch: Fetch) -> None:
        self._book = Book(fetch)

    def ask(self, asks: list[Ask]) -> list[Grant]:
        return self._book.ask(asks, time.monotonic())

    def tell(self, reports: list[Report]) -> None:
        self._book.tell(reports, time.monotonic())


class There:
    """The actor as a fetcher asks it (`turns.AsyncBook`)."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def ask(self, asks: Sequence[Ask]) -> list[Grant]:
        grants: list[Grant] = await self._actor.ask.remote(list(asks))
        return grants

    async def tell(self, reports: Sequence[Report]) -> None:
        await self._actor.tell.remote(list(reports))


def start_book(fetch: Fetch) -> tuple[Any, There]:
    """The actor, to be ended when the fetchers have ended, and what they are given of it."""
    import ray

    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(HostBook).remote(fetch)
    return actor, There(actor)
