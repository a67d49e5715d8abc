"""The processes that train together: who this one is, where it computes, and what they say to one another."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from vlp_core.errors import UserError

Value = TypeVar("Value")

# How long a rank waits for the others. Not torch's 10 minutes: a big data set is opened, and a checkpoint brought to
# another number of ranks, by one of them.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's rank among `world` ones, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and reports."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean of the ranks' tensors; a collective call."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.world

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()

    def share(self, make: Callable[[], Value]) -> Value:
        """What `make` returns, or the exception it raises, on rank 0, given to all; a collective call."""
        if self.world == 1:
            return make()
        said: list[Any] = [None, None]
        if self.first:
            try:
                said[0] = make()
            except Exception as error:  # the others would wait for it
                said[1] = error
        dist.broadcast_object_list(said, src=0)
        if said[1] is not None:
            raise said[1]
        return cast(Value, said[0])


@contextmanager
def joined(gpu: bool | None) -> Iterator[Ranks]:
    """A process group for the length of the block: the one at hand (Ray's), torchrun's, or one of this process alone.

    gpu: None takes GPUs where there are some. Raises UserError where GPUs are asked for and none is there.
    """
    device = _device(gpu)
    backend = "nccl" if device.type == "cuda" else "gloo"
    os.environ.setdefault("LOCAL_RANK", "0")
    if not dist.is_initialized():
        if "RANK" in os.environ:
            dist.init_process_group(backend, timeout=PATIENCE)
        else:
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=PATIENCE)
    try:
        yield Ranks(rank=dist.get_rank(), world=dist.get_world_size(), device=device)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()  # without it ZeRO-3 ends the process with signal 6


def _device(gpu: bool | None) -> torch.device:
    if gpu is None:
        gpu = torch.cuda.is_available()
    if not gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("--train.gpu: torch sees no GPU here; leave the flag out to train on the CPU")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        raise UserError(f"{local + 1} or more workers on a machine of {count} GPUs; start one a GPU")
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def set_threads(threads: int) -> None:
    """CPU threads of this process's arithmetic; 0 divides the cores among the processes of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads or max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
