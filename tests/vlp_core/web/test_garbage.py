"""A crawl does not spend its time looking for garbage, and leaves the process as it was."""

import gc
from contextlib import ExitStack

import pytest

from tests.vlp_core.web.fetching import always
from tests.vlp_core.web.site import Site
from vlp_core.web.crawl import crawl
from vlp_core.web.garbage import collected_seldom
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
    before = gc.get_threshold()
    first, second = ExitStack(), ExitStack()
    first.enter_context(collected_seldom())
    second.enter_context(collected_seldom())
    first.close()
    assert gc.get_threshold()[0] > before[0] and gc.get_freeze_count() > 1000
    with pytest.raises(ValueError, match="x"), second:
        raise ValueError("x")
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
