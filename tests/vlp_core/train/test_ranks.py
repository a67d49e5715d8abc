from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from vlp_core.train.ranks import PATIENCE, joined


def patience() -> timedelta:
    """How long a collective call of the process group at hand waits for the other ranks."""
    assert dist.group.WORLD is not None
    waits: timedelta = dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout
    return waits


@pytest.mark.parametrize("launched", [False, True], ids=["alone", "by torchrun"])
def test_ranks_wait_for_what_one_of_them_does_for_all(launched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a big data set takes longer than torch would wait."""
    if launched:
        for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
            monkeypatch.setenv(name, value)
    with joined(False):
        assert patience() == PATIENCE
