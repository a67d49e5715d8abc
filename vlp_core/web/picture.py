"""A picture as it is stored: JPEG, seen as a person sees it, and no larger than is asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import Header


@dataclass(frozen=True)
class Stored:
    """A picture as it is stored: JPEG bytes, with its size before and after in pixels, upright."""

    jpeg: bytes
    width: int
    height: int
    original_width: int
    original_height: int


Store = Callable[[bytes, Header], Stored | str]


def make_store(fetch: Fetch) -> Store:
    """A function of a body and its header (`sniff`): the picture as it is stored, or why there is none (`reasons`).

    Safe in threads. It checks the bounds of `fetch` (pixels, frames) itself, before anything is decoded.
    """
    raise NotImplementedError
