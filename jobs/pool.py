"""Actors that each make something costly once, a model on its device, and then work on one item after the other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jobs.shards import result_of
from vlp_core.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2
"""Items that an actor has been handed: the next one is there when it has done one."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """How many actors, and with a GPU each or on a CPU each; `retries`: how often a lost one is replaced."""

    actors: int
    gpu: bool
    retries: int = 3


def pool_of(workers: int | None, gpu: bool | None, items: int, flag: str) -> Pool:
    """As many as the cluster has GPUs, or CPUs where it has none; no more than there are items.

    UserError, which names the flag, for GPUs that are not there: Ray would wait for them, and say nothing.
    """
    import ray

    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    if gpu and not gpus:
        raise UserError(f"{flag}: the cluster has no GPU; leave it out to work on CPUs")
    use = gpus > 0 and gpu is not False
    room = gpus if use else max(1, int(there.get("CPU", 1)))
    return Pool(actors=max(1, min(workers or room, room, items)), gpu=use)


class Worker(Generic[Item, Result]):
    """An actor's own: makes what it works with at its first item, so that what fails there is told as any failure."""

    def __init__(self, make: Callable[[], Callable[[Item], Result]]) -> None:
        self._make = make
        self._made: Callable[[Item], Result] | None = None

    def ready(self) -> None: ...

    def work(self, item: Item) -> Result:
        if self._made is None:
            self._made = self._make()
        return self._made(item)


def map_pool(
    make: Callable[[], Callable[[Item], Result]], items: Sequence[Item], pool: Pool
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, make()(item)) as they end; `make` is called once in each actor.

    Items go to actors that run: one that waits for room on the cluster holds none up. An actor that dies is replaced
    `pool.retries` times, and its items are done again; an exception ends the map and is raised here.
    """
    import ray

    options: dict[str, Any] = {"num_cpus": 1, "num_gpus": float(pool.gpu) or None}
    kind: Any = ray.remote(**options, max_restarts=pool.retries, max_task_retries=pool.retries)(Worker)
    actors = [kind.remote(make) for _ in range(min(pool.actors, len(items)))]
    waiting = list(reversed(items))
    running: dict[Any, tuple[Any, Item | None]] = {actor.ready.remote(): (actor, None) for actor in actors}
    left = len(items)
    try:
        while left:
            (done,), _ = ray.wait(list(running), num_returns=1)
            actor, item = running.pop(done)
            result = result_of(done)
            for _ in range(AHEAD if item is None else 1):
                if waiting:
                    following = waiting.pop()
                    running[actor.work.remote(following)] = (actor, following)
            if item is not None:
                left -= 1
                yield item, result
    finally:
        for actor in actors:
            ray.kill(actor)
