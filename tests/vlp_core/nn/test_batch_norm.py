"""Batch norm over ranks is torch's batch norm over the whole batch."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import nn

from tests.vlp_core.ranks import RANKS, together
from vlp_core.errors import UserError
from vlp_core.nn.batch_norm import GlobalBatchNorm2d, GlobalBatchNormAct2d, over_all_ranks


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        BatchNormAct2d(4, act_layer=nn.GELU),
        nn.BatchNorm2d(4, momentum=None),
    )


def trained(model: nn.Module, pixels: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs, gradients and running statistics after two passes whose loss sees every output."""
    for _ in range(2):
        model.zero_grad()
        outputs = model(pixels)
        (outputs * weights).sum().backward()
    gradients = {f"{name}.grad": parameter.grad for name, parameter in model.named_parameters()}
    return {"outputs": outputs.detach(), **gradients, **model.state_dict()}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    # far from zero: where a naive E[x²] - E[x]² has no digits left
    pixels = 100 + torch.randn(6, 3, 8, 8, generator=random)
    return pixels, torch.randn(6, 4, 6, 6, generator=random)


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    pixels, weights = (whole.chunk(RANKS)[rank] for whole in batch())
    torch.save(trained(over_all_ranks(network()), pixels, weights), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    folder = together(one_rank, tmp_path_factory.mktemp("ranks"))
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(RANKS)]


def test_two_ranks_give_outputs_gradients_and_statistics_of_the_whole_batch(
    ranks: list[dict[str, torch.Tensor]],
) -> None:
    whole = trained(network(), *batch())
    assert ranks[0].keys() == whole.keys()
    torch.testing.assert_close(torch.cat([rank["outputs"] for rank in ranks]), whole["outputs"], rtol=0, atol=2e-4)
    for name, value in whole.items():
        if name.endswith(".grad"):
            torch.testing.assert_close(sum(rank[name] for rank in ranks), value, rtol=1e-3, atol=2e-3)
        elif name != "outputs":
            for rank in ranks:
                torch.testing.assert_close(rank[name], value, rtol=1e-5, atol=1e-5)


def test_one_rank_is_torch_itself() -> None:
    plain = network()
    mine = over_all_ranks(copy.deepcopy(plain))
    assert [type(mine[i]) for i in (1, 3)] == [GlobalBatchNorm2d, GlobalBatchNormAct2d]
    assert mine.state_dict().keys() == plain.state_dict().keys()
    expected, found = trained(plain, *batch()), trained(mine, *batch())
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_batch_norm_that_has_no_global_form_is_refused() -> None:
    with pytest.raises(UserError, match=r"^1: a BatchNorm1d has statistics of its own on each worker"):
        over_all_ranks(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
