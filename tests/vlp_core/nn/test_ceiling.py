"""The ceiling over ranks is that of one rank with the whole batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.vlp_core.ranks import RANKS, together
from vlp_core.nn.ceiling import Ceiling

# Above the ceiling or not, and how each rank pushes.
CASES = [(x, pushes) for x in (1.0, 3.0) for pushes in ((-1.0, 0.5), (1.0, -0.5), (-1.0, -0.5), (1.0, 0.5))]


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    gradients = []
    for start, pushes in CASES:
        x = torch.tensor([start], requires_grad=True)
        (Ceiling.apply(x, 2.0) * pushes[rank]).sum().backward()
        gradients.append(x.grad)
    torch.save(gradients, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list[torch.Tensor]]:
    folder = together(one_rank, tmp_path_factory.mktemp("ranks"))
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"at {x} pushed by {pushes}" for x, pushes in CASES])
def test_two_ranks_give_the_gradient_of_their_mean(case: int, ranks: list[list[torch.Tensor]]) -> None:
    start, pushes = CASES[case]
    whole = torch.tensor([start], requires_grad=True)
    (Ceiling.apply(whole, 2.0) * (sum(pushes) / RANKS)).sum().backward()
    assert [rank[case].item() for rank in ranks] == [whole.grad.item()] * RANKS
