"""Long-lived fetchers over the shards of a list: Ray actors, or this process where there is no Ray."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from jobs.download_shard import Shard
from jobs.fetch_worker import FetchWorker, News
from jobs.host_book import There
from jobs.shards import result_of
from vlp_core.errors import UserError
from vlp_core.web.settings import Fetch

RETRIES = 3
"""How often a worker that is lost is replaced."""
ROUNDS = 3
"""How often shards are gone through that nobody finished."""
ROWS = 5000
"""Links for which one more worker is worth its start."""
_NEWS_S = 1.0
_LAST_NEWS_S = 10.0  # from workers that have nothing else to do
Listen = Callable[[News], None]


def fetch_shards(
    shards: Sequence[Shard], fetch: Fetch, *, rows: int, here: bool, listen: Listen, takedowns: Path | None = None
) -> None:
    """Fetch and publish shards of so many rows in all; `listen` is told about once a second how far they are.

    `here`: on this node alone. `takedowns`: where tombstones are, or may come to be. UserError where a shard is held by
    a process that does not end.
    """
    missing = list(shards)
    for _ in range(ROUNDS):
        if not missing:
            return
        if fetch.workers != 0 and _has_ray():
            _in_actors(missing, fetch, takedowns, rows=rows, here=here, listen=listen)
        else:
            _in_this_process(missing, fetch, takedowns, listen)
        missing = [shard for shard in missing if not shard.is_published]
    if missing:
        raise UserError(f"{missing[0].work}: another process holds this shard and does not end; end it and start again")


def _has_ray() -> bool:
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def _in_this_process(shards: Sequence[Shard], fetch: Fetch, takedowns: Path | None, listen: Listen) -> None:
    worker, ended = FetchWorker(fetch, takedowns=takedowns), Event()

    def poll() -> None:
        while not ended.wait(_NEWS_S):
            listen(worker.news())

    reporter = Thread(target=poll, name="download-progress", daemon=True)
    reporter.start()
    try:
        worker.run(shards)
    finally:
        ended.set()
        reporter.join()
        listen(worker.news())


@dataclass(frozen=True, kw_only=True)
class Crew:
    """How many workers there are, with so many CPUs each."""

    workers: int
    cpus: float


def crew_of(fetch: Fetch, nodes: Sequence[float], *, shards: int, rows: int) -> Crew:
    """Who fetches a list on nodes of so many CPUs: a worker for as many as it has threads, as what else it does, one
    thread at a time, they leave room for. One that finds no room would be waited for for ever."""
    nodes = [cpus for cpus in nodes if cpus >= 1]
    cpus = min([float(fetch.threads), *nodes])
    fit = sum(int(node // cpus) for node in nodes)
    return Crew(workers=max(1, min(fetch.workers or -(-rows // ROWS), fit, shards)), cpus=cpus)


def cpus_of_nodes(alone: str | None = None) -> list[float]:
    """The CPUs of each node of the cluster that lives, or of one node by its id."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"] and alone in (None, node["NodeID"])]
    return [node["Resources"].get("CPU", 0.0) for node in alive]


def _in_actors(
    shards: Sequence[Shard], fetch: Fetch, takedowns: Path | None, *, rows: int, here: bool, listen: Listen
) -> None:
    import ray

    node = ray.get_runtime_context().get_node_id() if here else None
    crew = crew_of(fetch, cpus_of_nodes(node), shards=len(shards), rows=rows)
    options: dict[str, Any] = {"num_cpus": crew.cpus, "max_concurrency": 2}
    options |= {"max_restarts": RETRIES, "max_task_retries": RETRIES}
    if node is not None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    kind: Any = ray.remote(**options)(FetchWorker)
    book = There(fetch)
    actors: list[Any] = [kind.remote(fetch, book, takedowns) for _ in range(crew.workers)]
    try:
        if crew.workers == 1:
            running = {actors[0].run.remote(shards): actors[0]}
        else:
            dealer: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Dealer).remote(shards)
            running = {worker.run.remote(Dealt(dealer, number)): worker for number, worker in enumerate(actors)}
            actors.append(dealer)
        _wait(running, listen)
    finally:
        for actor in actors:
            ray.kill(actor)
        book.leave()


def _wait(running: dict[Any, Any], listen: Listen) -> None:
    """Until all runs have ended, or one in an error."""
    import ray

    workers = list(running.values())
    asked: dict[Any, Any] = {}
    while running:
        ended, _ = ray.wait(list(running), num_returns=1, timeout=_NEWS_S)
        _hear(workers, asked, listen, _NEWS_S)
        for reference in ended:
            running.pop(reference)
            result_of(reference)
    for _ in range(2):  # what was on its way, and what has happened since
        _hear(workers, asked, listen, _LAST_NEWS_S)


def _hear(workers: Sequence[Any], asked: dict[Any, Any], listen: Listen, seconds: float) -> None:
    """Pass on the news that come within so many seconds. What is late stays in `asked`, by its worker, which is asked
    for more when it is there: a worker says but once what it has published."""
    import ray

    asked |= {worker: worker.news.remote() for worker in workers if worker not in asked}
    there, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=seconds)
    for worker in [worker for worker, news in asked.items() if news in there]:
        try:
            listen(ray.get(asked.pop(worker)))
        except ray.exceptions.RayError:
            continue  # it was lost, and comes back


class Dealer:
    """Hands shards out to workers; an actor. One that was lost begins anew, with what is not published by then."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._waiting = deque(shard for shard in shards if not shard.is_published)
        self._given: dict[int, list[Shard]] = {}

    def back(self, worker: int) -> None:
        """What a worker has not published is to be handed out again: it has just begun, maybe after it was lost."""
        mine = self._given.pop(worker, [])
        self._waiting.extendleft(shard for shard in reversed(mine) if not shard.is_published)

    def deal(self, worker: int) -> Shard | None:
        if not self._waiting:
            return None
        shard = self._waiting.popleft()
        self._given.setdefault(worker, []).append(shard)
        return shard


class Dealt:
    """The shards that a dealer has for one worker, one after the other."""

    def __init__(self, dealer: Any, worker: int) -> None:
        self._dealer, self._worker = dealer, worker

    def __iter__(self) -> Iterator[Shard]:
        import ray

        ray.get(self._dealer.back.remote(self._worker))
        while (shard := ray.get(self._dealer.deal.remote(self._worker))) is not None:
            yield shard
