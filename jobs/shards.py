"""A Ray task a shard, through a bounded window: what is submitted never outruns what is done."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from vlp_core.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

ENDS_WITHIN_S = 30.0
"""So long what is at work may take to its end, where another shard has failed."""


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """How one shard's task runs: cpus and gpus, how often a lost worker is replaced, whether it stays on this node.

    A process that had a GPU ends with its task, and what it loaded goes with it: what loads a model takes several
    shards a task. One that had CPUs alone is used again.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3
    here: bool = False


def map_shards(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    task: ShardTask | None = None,
    window: int | None = None,
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, function(item)) as they end, `window` at a time (default: twice the cluster's CPUs).

    A worker that dies is replaced `task.retries` times; an exception in `function` ends the map and is raised here,
    a UserError and what the system refused (a full disk) as themselves.
    """
    import ray

    task = task or ShardTask()
    window = window or max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))
    remote = submittable(function, task)
    waiting = list(reversed(items))
    running: dict[Any, Item] = {}
    try:
        while waiting or running:
            while waiting and len(running) < window:
                item = waiting.pop()
                running[remote.remote(item)] = item
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                item = running.pop(reference)
                yield item, result_of(reference)
    finally:
        if running:
            # Ray ends this process too where a task is cancelled in the moment in which it ends.
            _, left = ray.wait(list(running), num_returns=len(running), timeout=ENDS_WITHIN_S)
            for reference in left:
                ray.cancel(reference, force=True)


def submittable(function: Callable[..., Any], task: ShardTask) -> Any:
    """The function as Ray takes it."""
    import ray

    options: dict[str, Any] = {"num_cpus": task.cpus, "num_gpus": task.gpus or None, "max_retries": task.retries}
    if task.here:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    # Not by `.options`, for which Ray has not its rule that a process which was given a GPU ends with its task: idle,
    # it would keep the memory of that GPU from whoever has it next.
    return ray.remote(**options)(function)


def result_of(reference: Any) -> Any:
    """What a task returned, or its exception: a UserError and what the system refused as themselves."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, OSError) and cause.errno is not None:  # Ray's wrapper has no errno
            raise cause from error
        raise
