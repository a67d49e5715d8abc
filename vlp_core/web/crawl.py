"""Many links at once: polite to each host, past those that are busy or dead, and decoding while fetching goes on."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import islice
from typing import Generic, TypeVar, cast

from yarl import URL

from vlp_core.web.addresses import Gate, is_name
from vlp_core.web.descriptors import Connections, connections_for
from vlp_core.web.fetcher import Fetcher, Hop, Wish
from vlp_core.web.hosts import Here
from vlp_core.web.interpreter import set_for_crawls
from vlp_core.web.link import Answer, Link, parsed
from vlp_core.web.pace import Pace
from vlp_core.web.recall import Recall
from vlp_core.web.resolver import Lookup, Names, look_up
from vlp_core.web.robots import ROBOTS_BYTES, KeptRules, robots_read
from vlp_core.web.room import Claim, Room, Young
from vlp_core.web.settings import Fetch
from vlp_core.web.trip import Trip, after, begin, deadline, refusal, robots_trip
from vlp_core.web.turns import Ask, Asked, AsyncBook, Grant, Report
from vlp_core.web.waiting import Waiting

Key = TypeVar("Key")
_NOWHERE = URL("http://nowhere.invalid")
_DRAWN = 256  # links drawn at a time
_LOOKUPS = 256  # names that are looked up at once: name servers are asked politely too
_ROOM_S = 0.1  # requests that are not answered soon leave their room to others
_BATCH_S = 0.002  # what happens meanwhile is told, and asked for, in one
_RECALL_S = 1.0  # between two looks at what is taken down
_STRETCH_S = 0.05  # rules may be made to take long: the links that they forbid hold up the loop no longer at a time


def crawl(
    links: Iterable[tuple[Key, Link] | None],
    fetch: Fetch,
    handle: Callable[[Key, Answer], None],
    *,
    book: AsyncBook | None = None,
    lookup: Lookup | None = None,
    recall: Recall | None = None,
) -> None:
    """Fetch all links; `handle(key, answer)` runs in one of `fetch.threads` threads, once for each link, in no order.

    `links` is drawn from as room comes up, in a thread of its own, so it may read files or wait; at most
    `fetch.lookahead` links are out at a time. None in place of one says that there is none until one that is out has
    been handled. `book` decides whose turn it is (one of this process, where none is given), `lookup` finds addresses
    (`Names`). What `recall` takes down meanwhile is not asked for, and has its reason as answer. An exception in
    `links` or `handle` ends the crawl and is raised.
    """
    try:
        with set_for_crawls():
            asyncio.run(_crawl(links, fetch, handle, book or Here(fetch), lookup, recall))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def _crawl(
    links: Iterable[tuple[Key, Link] | None],
    fetch: Fetch,
    handle: Callable[[Key, Answer], None],
    book: AsyncBook,
    lookup: Lookup | None,
    recall: Recall | None,
) -> None:
    gate = Gate(allow_private=fetch.allow_private, resolve=fetch.resolve)
    connections = connections_for(fetch.connections)
    async with AsyncExitStack() as stack:
        if lookup is None:
            lookup = names = Names(fetch.nameservers)
            stack.push_async_callback(names.close)
        fetcher = await stack.enter_async_context(Fetcher(fetch, gate, connections.kept_s))
        decoders = stack.enter_context(ThreadPoolExecutor(fetch.threads, thread_name_prefix="decode"))
        stack.callback(decoders.shutdown, wait=False, cancel_futures=True)
        drawer = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="links"))
        async with asyncio.TaskGroup() as group:
            crawling = _Crawl(fetch, gate, connections, fetcher, handle, book, lookup, recall, decoders, group)
            group.create_task(crawling.draw(links, drawer))
            driving = group.create_task(crawling.drive())
            if recall is not None:
                looker = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="recall"))
                watching = group.create_task(crawling.watch(recall, looker))
                driving.add_done_callback(lambda _: watching.cancel())


def _drawn(source: Iterator[tuple[Key, Link] | None], most: int) -> list[tuple[Key, Link] | None]:
    """At most so many links; None is the last where there are no more for now, and none come where all are drawn."""
    drawn = []
    for entry in islice(source, most):
        drawn.append(entry)
        if entry is None:
            break
    return drawn


class _Crawl(Generic[Key]):
    """One crawl: links wait by origin, the book says which go, and each request is a task of its own."""

    def __init__(
        self,
        fetch: Fetch,
        gate: Gate,
        connections: Connections,
        fetcher: Fetcher,
        handle: Callable[[Key, Answer], None],
        book: AsyncBook,
        lookup: Lookup,
        recall: Recall | None,
        decoders: ThreadPoolExecutor,
        group: asyncio.TaskGroup,
    ) -> None:
        self._fetch, self._gate, self._fetcher, self._handle = fetch, gate, fetcher, handle
        self._book, self._lookup, self._decoders, self._group = book, lookup, decoders, group
        self._recall, self._loop = recall, asyncio.get_running_loop()
        self._waiting, self._rules = Waiting(connections.kept_s), KeptRules(fetch.user_agent)
        self._room, self._young, self._pace = Room(fetch.body_bytes), Young(), Pace(fetch.threads)
        self._most, self._flying = connections.at_once, 0
        self._reports: list[Report] = []
        self._bell = asyncio.Event()  # something changed: the drive goes on
        self._space = asyncio.Event()  # links were finished: more may be drawn
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self._undecoded = 0  # answers that are not handled yet
        self._out, self._drained = 0, False  # trips that have no answer yet; all links are drawn
        self._links: set[Trip] = set()  # of those trips, the ones that are links
        self._recalled = False  # some were since the last look at those that wait
        self._edition, self._late = 0, False  # of what is taken down; links came in that were drawn before its change

    async def draw(self, links: Iterable[tuple[Key, Link] | None], drawer: ThreadPoolExecutor) -> None:
        """Let links in while there is room for them."""
        source = iter(links)
        while True:
            self._space.clear()  # what is finished from now on makes room
            room = self._fetch.lookahead - self._out
            if room <= 0:
                await self._space.wait()
                continue
            edition = self._edition
            drawn = await self._loop.run_in_executor(drawer, _drawn, source, min(_DRAWN, room))
            for entry in drawn:
                if entry is not None:
                    self._enter(*entry)
            self._late |= edition != self._edition
            self._bell.set()
            if not drawn:
                self._drained = True
                return
            if drawn[-1] is None:
                await self._space.wait()

    async def watch(self, recall: Recall, looker: ThreadPoolExecutor) -> None:
        """Mark what is taken down of the links that have no answer yet; until it is cancelled."""
        while True:
            await asyncio.sleep(_RECALL_S)
            if await self._loop.run_in_executor(looker, recall.changed):
                self._edition += 1
            elif not self._late:
                continue
            self._late, out = False, list(self._links)
            down = await self._loop.run_in_executor(looker, recall.taken_down, [trip.link.url for trip in out])
            for trip, is_down in zip(out, down, strict=True):
                trip.recalled |= bool(is_down)
            self._recalled = True
            self._bell.set()

    async def drive(self) -> None:
        """Tell the book what became of its turns, ask for more, and send what it grants; until nothing is left."""
        while self._out or not self._drained:
            self._bell.clear()
            now = self._loop.time()
            if self._recalled:
                self._withdraw()
            self._waiting.wake(now)
            await self._tell()
            young = self._young.count(now)
            free = min(self._most - self._flying, self._room.starts(young))
            free = min(free, self._pace.starts(young, self._undecoded, now))
            if self._flying == 0:
                free = max(free, 1)  # however large bodies are, one may come
            due = self._waiting.due(now, free)
            if due:
                share = 1 + (free - len(due)) // len(due)
                grants = await self._book.ask([self._ask(origin, share) for origin in due])
                for origin, grant in zip(due, grants, strict=True):
                    self._granted(origin, grant)
                    if self._loop.time() - now > _STRETCH_S:  # many rules of many hosts hold nobody else up
                        await asyncio.sleep(0)
            await self._until_something_is_up(has_room=free > len(due))
        await self._tell()

    def _withdraw(self) -> None:
        """Those that wait have their answer; those in flight have it when they come back."""
        self._recalled = False
        for trip in self._waiting.withdraw():
            self._end_soon(trip, Answer(attempts=trip.attempt))

    async def _tell(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            await self._book.tell(reports)

    async def _until_something_is_up(self, *, has_room: bool) -> None:
        at = self._waiting.next_at() if has_room else self._loop.time() + _ROOM_S
        timer = None if at is None else self._loop.call_at(at, self._bell.set)
        await self._bell.wait()
        if timer is not None:
            timer.cancel()
        await asyncio.sleep(_BATCH_S)

    def _enter(self, key: Key, link: Link) -> None:
        self._out += 1
        url = parsed(link.url)
        refused = "bad url" if url is None else refusal(url, self._gate)
        trip = Trip(key, link, url or _NOWHERE, self._fetch.max_redirects)
        self._links.add(trip)
        if refused is None:
            self._waiting.add(trip, self._loop.time())
        else:
            self._end_soon(trip, Answer(reason=refused, attempts=0))

    def _ask(self, origin: str, share: int) -> Ask:
        trip = self._waiting.head(origin)
        robots = self._fetch.honour_robots and trip.robots_of is None
        return Ask(
            trip.host,
            origin,
            turns=1 if trip.robots_of is not None else min(self._waiting.waiting(origin), share),
            lookup=is_name(trip.host) and self._gate.mapped(trip.host) is None,
            robots=robots,
            has_rules=origin in self._rules,
        )

    def _granted(self, origin: str, grant: Grant) -> None:
        """Send what may be sent; what is left comes up again."""
        now = self._loop.time()
        host = self._waiting.head(origin).host
        if grant.refused is not None:
            for trip in self._waiting.take_all(origin):
                self._end_soon(trip, Answer(reason=grant.refused, attempts=trip.attempt))
            return
        if grant.errand == "robots":
            self._out += 1
            self._waiting.add(robots_trip(origin), now, first=True)
        elif grant.errand == "lookup":
            self._group.create_task(self._look_up(host, origin))
        if grant.rules is not None:
            self._rules.keep(origin, grant.rules)
        until, unused = self._loop.time() + _STRETCH_S, 0
        for lease in grant.leases:
            found = self._next(origin, until)
            if found is None:
                self._reports.append(Asked(host, origin, lease, "unused"))
                unused += 1
                continue
            self._flying += 1
            self._young.sent(found, now)
            self._waiting.sent(origin)
            self._group.create_task(self._send(found, lease, grant.addresses))
        self._waiting.again(origin, now + grant.wait_s, nudged=grant.until_told)
        if unused:
            self._waiting.nudge(origin, now)

    def _next(self, origin: str, until: float) -> Trip | None:
        """The next trip that may go, if it is found by then; those that robots.txt forbids are at their end."""
        while (trip := self._waiting.take(origin)) is not None:
            if trip.robots_of is not None or not self._fetch.honour_robots:
                return trip
            rules = self._rules.get(origin)
            if rules is None:  # they were given up for others meanwhile
                self._waiting.add(trip, self._loop.time(), first=True)
                return None
            if rules.allows(trip.url):
                return trip
            self._end_soon(trip, Answer(reason="opted out: robots.txt", attempts=trip.attempt))
            if self._loop.time() > until:
                return None
        return None

    async def _send(self, trip: Trip, lease: int, addresses: tuple[str, ...]) -> None:
        """One request, and what comes of it."""
        claim, host, origin, since = Claim(self._room), trip.host, trip.origin, self._loop.time()
        try:
            hop = await self._hop(trip, addresses, claim)
            self._flying -= 1
            self._young.came(trip)
            self._waiting.came(origin, self._loop.time(), answered=hop.how == "answered")
            self._room.ended(claim.size)
            self._reports.append(Asked(host, origin, lease, hop.how, hop.answer.reason, hop.retry_s or 0.0))
            now = self._loop.time()
            self._waiting.nudge(origin, now)
            self._bell.set()
            outcome = after(trip, hop, now - since, self._fetch, self._gate)
            if trip.recalled:
                await self._end(trip, hop.answer)
            elif isinstance(outcome, Answer):
                await self._end(trip, outcome)
            elif outcome:
                self._waiting.pause(trip, now + outcome)
            else:
                self._waiting.add(trip, now, first=True)
        finally:
            claim.release()

    async def _hop(self, trip: Trip, addresses: tuple[str, ...], claim: Claim) -> Hop:
        seconds = begin(trip, self._fetch)
        if seconds <= 0:
            return Hop("unused", Answer(reason="time-out"), retry_s=0.0)
        robots = trip.robots_of is not None
        wish = Wish(trip.link, ROBOTS_BYTES if robots else self._fetch.max_bytes, cut=robots, opt_outs=not robots)
        hop = await self._fetcher.request(trip.url, wish, addresses, seconds, claim)
        if hop.how == "silent" and seconds < deadline(trip, self._fetch) / 2:
            return replace(hop, how="lost")  # others on the way have used up the time
        return hop

    async def _look_up(self, host: str, origin: str) -> None:
        looked, tries = await look_up(host, self._lookup, self._fetch, self._lookups)
        if looked.failed is not None:
            self._tried(origin, tries)
        self._reports.append(looked)
        self._waiting.nudge(origin, self._loop.time())
        self._bell.set()

    def _tried(self, origin: str, times: int) -> None:
        """Something was asked in vain for those that wait."""
        for trip in self._waiting.all(origin):
            trip.attempt = max(trip.attempt, times)

    def _end_soon(self, trip: Trip, answer: Answer) -> None:
        self._group.create_task(self._end(trip, answer))

    async def _end(self, trip: Trip, answer: Answer) -> None:
        """A trip has its answer: a link's is handled, a robots.txt is told."""
        if trip.robots_of is not None:
            self._robots_read(trip, trip.robots_of, answer)
        else:
            self._undecoded += 1
            await self._loop.run_in_executor(self._decoders, self._hand, trip, answer)
            self._undecoded -= 1
            self._links.discard(trip)
        self._out -= 1
        self._space.set()
        self._bell.set()

    def _hand(self, trip: Trip, answer: Answer) -> None:
        """In a decoder's thread, which may be busy for a while: by now it may be recalled, whatever came of it."""
        if trip.recalled and self._recall is not None:
            answer = Answer(reason=self._recall.reason, attempts=trip.attempt)
        self._handle(cast(Key, trip.key), answer)

    def _robots_read(self, trip: Trip, origin: str, answer: Answer) -> None:
        read = robots_read(origin, answer, self._fetch.user_agent, moved=trip.redirects > 0)
        if read.failed is not None:
            self._tried(origin, answer.attempts)
        reads = [read]
        found = answer.http_status is not None  # else the last redirect was not followed, and says nothing of its host
        if read.failed is None and found and trip.origin != origin and trip.url.raw_path_qs == "/robots.txt":
            reads.append(replace(read, origin=trip.origin))  # as from http to https: it need not be asked for again
        for each in reads:
            self._reports.append(each)
            self._rules.keep(each.origin, each.text)
            self._waiting.nudge(each.origin, self._loop.time())
