"""The book of hosts as an actor that all downloads of a cluster share: no host is asked faster because many ask it.

Downloads with the same word on how hosts are asked (`_SHARED`) have one book, whichever job they belong to. It is there
while one of them is; one that was lost begins anew: pauses are forgotten, and robots.txt is read again.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from threading import Thread
from typing import Any
from uuid import uuid4

from vlp_core.errors import UserError, first_line
from vlp_core.web.hosts import Book
from vlp_core.web.settings import Fetch
from vlp_core.web.turns import Ask, Asked, Grant, Looked, Report, RobotsRead

NAMESPACE = "vlp"
"""Ray's names are of one job without it."""
IDLE_S = 600.0
"""A book that nobody asks for so long, or twice the longest wait, ends: whoever was to leave it was killed, or has left
while a host was to be left alone."""
TRIES = 20
"""How often a call is begun again on a new book; each finds the one before it ended."""
_PAUSE_S = 0.25
_LEAVE_S = 10.0
_SHARED = (
    *("per_host", "per_host_rate", "pause_s", "budget_s", "deadline_s", "connect_s"),
    *("user_agent", "honour_robots", "resolve", "nameservers", "allow_private"),
)
_WORDS = (Fetch, Ask, Asked, Grant, Looked, RobotsRead)


class _NoBookError(Exception):
    pass


class HostBook:
    """The actor."""

    def __init__(self, fetch: Fetch, idle_s: float | None = None) -> None:
        self._book = Book(fetch)
        self._users: set[str] = set()
        self._heard = time.monotonic()
        most = max(IDLE_S, 2 * fetch.budget_s) if idle_s is None else idle_s
        Thread(target=self._end_when_idle, args=(most,), daemon=True).start()

    def join(self, user: str) -> None:
        """A download begins, or goes on with a new book."""
        self._heard = time.monotonic()
        if user not in self._users:
            self._users.add(user)
            self._book.begin_run()

    def leave(self, user: str) -> None:
        """A download has ended; with the last one the book does, unless a host has asked for patience."""
        import ray

        self._users.discard(user)
        if not self._users and not self._book.is_paused(time.monotonic()):
            ray.actor.exit_actor()

    def ask(self, asks: list[Ask]) -> list[Grant]:
        self._heard = time.monotonic()
        return self._book.ask(asks, self._heard)

    def tell(self, reports: list[Report]) -> None:
        self._heard = time.monotonic()
        self._book.tell(reports, self._heard)

    def _end_when_idle(self, most_s: float) -> None:
        while (left := self._heard + most_s - time.monotonic()) > 0:
            time.sleep(left)
        os._exit(0)


class There:
    """The actor as the fetchers of one download ask it (`turns.AsyncBook`), started where there is none."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch, self._user = fetch, uuid4().hex
        self._actor: Any = None

    async def ask(self, asks: Sequence[Ask]) -> list[Grant]:
        grants: list[Grant] = await self._call("ask", list(asks))
        return grants

    async def tell(self, reports: Sequence[Report]) -> None:
        await self._call("tell", list(reports))

    def leave(self) -> None:
        """The download has ended, however it did."""
        import ray

        with suppress(ValueError, ray.exceptions.RayError):  # it has ended, as it should or before
            ray.get(ray.get_actor(name_of_book(self._fetch), NAMESPACE).leave.remote(self._user), timeout=_LEAVE_S)

    async def _call(self, what: str, words: list[Any]) -> Any:
        from ray.exceptions import OutOfMemoryError, RayActorError

        left = TRIES
        while True:
            try:
                if self._actor is None:
                    actor = _book_for(self._fetch)
                    await actor.join.remote(self._user)
                    self._actor = actor
                return await getattr(self._actor, what).remote(words)
            except (RayActorError, OutOfMemoryError, _NoBookError) as error:
                self._actor, left = None, left - 1
                if not left:
                    raise UserError(f"the book of hosts ends again and again ({first_line(error)})") from error
                await asyncio.sleep(_PAUSE_S)


def name_of_book(fetch: Fetch) -> str:
    """The actor's name: the same for all who ask hosts in the same way, and who speak to it in the same words."""
    spoken = [(word.__name__, [part.name for part in fields(word)]) for word in _WORDS]
    words = repr(([(name, getattr(fetch, name)) for name in _SHARED], spoken))
    return f"hosts-{hashlib.sha256(words.encode()).hexdigest()[:16]}"


def _book_for(fetch: Fetch) -> Any:
    """The actor, which is started where there is none: of several that find none, one does."""
    import ray

    kind: Any = ray.remote(num_cpus=0, max_restarts=0)(HostBook)
    named = kind.options(name=name_of_book(fetch), namespace=NAMESPACE, lifetime="detached", get_if_exists=True)
    try:
        return named.remote(fetch)
    except ValueError as error:  # another download started it, and it has ended since
        raise _NoBookError(str(error)) from error
