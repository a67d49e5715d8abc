"""Two processes that work together, as ranks do."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing as mp

RANKS = 2
IMPORTED_ONCE = ["deepspeed", "open_clip", "timm", "vlp_core.recipes.catalogue", "vlp_core.train.loop"]
Work = Callable[[int, str], None]


def together(work: Work, folder: Path) -> Path:
    """`work(rank, folder)` in two processes, which end with it; the folder.

    They are forked from a server that has imported what takes seconds to import, once for all tests of this process,
    and that has none of this one's threads.
    """
    multiprocessing.set_forkserver_preload(IMPORTED_ONCE)
    mp.start_processes(_one, args=(work, str(folder)), nprocs=RANKS, start_method="forkserver")  # type: ignore[attr-defined]
    return folder


def _one(rank: int, work: Work, folder: str) -> None:
    torch.set_num_threads(1)  # two processes on few cores, and a pool of threads does not outlive a fork
    work(rank, folder)
