"""A pool of actors: each makes its model once, one that dies is replaced, failures are told as they are."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jobs.pool import Pool, map_pool, pool_of
from vlp_core.errors import UserError


def squares(folder: str) -> Callable[[int], int]:
    """Leaves a file for each time it is called; item 3 kills its process the first time, as a lack of memory would."""
    (Path(folder) / f"made-{os.getpid()}").touch()

    def work(number: int) -> int:
        died = Path(folder) / "died"
        if number == 3 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number

    return work


def no_model() -> Callable[[int], int]:
    raise UserError("clip.pt: no checkpoint; give another")


def test_each_actor_makes_its_model_once_and_a_lost_one_is_replaced(cluster: str, tmp_path: Path) -> None:
    found = dict(map_pool(partial(squares, str(tmp_path)), range(20), Pool(actors=2, gpu=False)))
    assert found == {number: number**2 for number in range(20)}
    assert (tmp_path / "died").exists() and 2 <= len(list(tmp_path.glob("made-*"))) <= 3


def test_a_model_that_cannot_be_made_is_told_in_its_own_words(cluster: str) -> None:
    with pytest.raises(UserError, match=r"^clip\.pt: no checkpoint; give another$"):
        list(map_pool(no_model, range(4), Pool(actors=1, gpu=False)))


def test_actors_are_as_many_as_have_room_and_something_to_do(cluster: str) -> None:
    """One too many would wait for ever."""
    asked = {(None, 99): 6, (2, 99): 2, (99, 99): 6, (4, 3): 3}
    assert {ask: pool_of(ask[0], None, ask[1], "--x").actors for ask in asked} == asked
    with pytest.raises(UserError, match=r"--score\.gpu: the cluster has no GPU"):
        pool_of(None, True, 9, "--score.gpu")
