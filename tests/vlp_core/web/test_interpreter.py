"""A crawl does not spend its time looking for garbage or waiting for turns, and leaves the process as it was."""

import gc
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.vlp_core.web.fetching import always
from tests.vlp_core.web.site import Site
from vlp_core.web.crawl import crawl
from vlp_core.web.interpreter import set_for_crawls
from vlp_core.web.link import Link
from vlp_core.web.settings import Fetch


def test_a_crawl_looks_for_garbage_seldom() -> None:
    passes: list[int] = []

    def seen(phase: str, info: dict[str, int]) -> None:
        passes.append(info["generation"])

    with Site(always()) as site:
        links = enumerate(Link(f"http://{number}.test/") for number in range(200))
        gc.callbacks.append(seen)
        try:
            crawl(links, Fetch(resolve=(f"*.test={site.address}",), per_host_rate=0.0), lambda *_: None)
        finally:
            gc.callbacks.remove(seen)
    assert len(passes) <= 8, "a start and an end each; left alone, some eighty"


def test_however_blocks_overlap_and_end_what_was_set_is_set_again() -> None:
    before = gc.get_threshold(), sys.getswitchinterval()
    first, second = ExitStack(), ExitStack()
    first.enter_context(set_for_crawls())
    second.enter_context(set_for_crawls())
    first.close()
    assert gc.get_threshold() > before[0] and gc.get_freeze_count() > 1000 and sys.getswitchinterval() < before[1]
    with pytest.raises(ValueError, match="x"), second:
        raise ValueError("x")
    assert (gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()) == (*before, 0)


_FAULTS = """
import resource
from contextlib import nullcontext

import numpy as np

from vlp_core.web.interpreter import set_for_crawls

with {block}:
    for turn in range(40):
        if turn == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        pixels = [np.ones(2**20, np.uint8) for _ in range(8)]
        del pixels
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_memory_of_one_picture_serves_the_next() -> None:
    """A page that is given back to the system and comes again costs more than the pixels that it holds."""
    gives_back = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}  # else it depends on what came before

    def faults(block: str) -> int:
        command = [sys.executable, "-c", _FAULTS.format(block=block)]
        return int(subprocess.run(command, env=gives_back, capture_output=True, check=True).stdout)

    pages = 20 * 8 * 2**20 // 4096
    assert faults("set_for_crawls()") < pages / 20 < faults("nullcontext()")
