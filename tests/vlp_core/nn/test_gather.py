"""What two ranks gather and average is what one rank has with the whole batch."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.vlp_core.ranks import RANKS, together
from vlp_core.nn.gather import first_row, gather, gather_sequence, gather_texts, global_mean
from vlp_core.sequence import Sequence

ROWS, DIM = 6, 5
SHARE = ROWS // RANKS
Made = dict[str, Tensor]


def whole() -> tuple[Tensor, Tensor, Tensor]:
    """Rows, a weight for each pair of rows, and what counts: three rows on one rank and none on the other."""
    draw = torch.Generator().manual_seed(0)
    counts = torch.tensor([True, True, True, False, False, False])
    return torch.randn(ROWS, DIM, generator=draw), torch.randn(ROWS, ROWS, generator=draw), counts


def contrasted(rows: slice) -> Made:
    """A loss in which each rank's rows meet those of all, and its gradient."""
    values, weights, _ = whole()
    mine = values[rows].requires_grad_()
    loss = (weights[rows] * torch.tanh(mine @ gather(mine).T)).sum(dim=1).mean()
    loss.backward()
    return {"loss": loss.detach(), "gradient": mine.grad}


def averaged(rows: slice) -> Made:
    """The mean over what counts, by a parameter that all ranks have."""
    values, _, counts = whole()
    parameter = torch.ones(DIM, requires_grad=True)
    chosen = counts[rows]
    loss = global_mean((values[rows] @ parameter).sin()[chosen].sum(), chosen.sum())
    loss.backward()
    return {"loss": loss.detach(), "gradient": parameter.grad}


def nothing_counts(rows: slice) -> Made:
    values, _, _ = whole()
    mine = values[rows].requires_grad_()
    loss = global_mean(mine[:0].sum(), torch.tensor(0))
    loss.backward()
    return {"loss": loss.detach(), "gradient": mine.grad}


def texts(rows: slice) -> Made:
    """Texts of 4 and of 6 tokens, their states, and which are there."""
    values, _, _ = whole()
    length = 4 if rows.stop == SHARE else 6
    tokens = torch.arange(ROWS * length).reshape(ROWS, length)[rows]
    states = values[rows, None].expand(-1, length, -1)
    mask = tokens % 3 != 0
    joined = gather_sequence(Sequence(states, mask))
    kinds = {"bool": mask, "int": tokens, "float": values[rows]}
    first = torch.tensor([first_row(SHARE)])
    found = {"tokens": gather_texts(tokens, -1), "states": joined.states, "mask": joined.mask, "first": first}
    return {
        **found,
        **{kind: gather_texts(value) if kind != "float" else gather(value) for kind, value in kinds.items()},
    }


CASES: dict[str, Callable[[slice], Made]] = {
    case.__name__: case for case in (contrasted, averaged, nothing_counts, texts)
}


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    rows = slice(rank * SHARE, (rank + 1) * SHARE)
    torch.save({name: case(rows) for name, case in CASES.items()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Made]]:
    folder = together(one_rank, tmp_path_factory.mktemp("ranks"))
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(RANKS)]


def mean_of(ranks: list[dict[str, Made]], case: str, name: str) -> Tensor:
    """As an engine averages."""
    return torch.stack([rank[case][name] for rank in ranks]).mean(dim=0)


def test_a_gathered_loss_is_that_of_the_whole_batch(ranks: list[dict[str, Made]]) -> None:
    expected = contrasted(slice(0, ROWS))
    torch.testing.assert_close(mean_of(ranks, "contrasted", "loss"), expected["loss"])
    gradient = torch.cat([rank["contrasted"]["gradient"] for rank in ranks]) / RANKS
    torch.testing.assert_close(gradient, expected["gradient"])


def test_a_global_mean_is_over_what_counts_on_all_ranks(ranks: list[dict[str, Made]]) -> None:
    """Where the mean of the ranks' own means would be half of it."""
    expected = averaged(slice(0, ROWS))
    for name, value in expected.items():
        torch.testing.assert_close(mean_of(ranks, "averaged", name), value)


def test_the_mean_of_nothing_is_0_and_has_a_gradient(ranks: list[dict[str, Made]]) -> None:
    for found in (nothing_counts(slice(0, ROWS)), *(rank["nothing_counts"] for rank in ranks)):
        assert found["loss"] == 0
        assert found["gradient"].count_nonzero() == 0


def test_texts_of_all_ranks_are_filled_up_to_the_longest(ranks: list[dict[str, Made]]) -> None:
    short = torch.arange(ROWS * 4).reshape(ROWS, 4)[:SHARE]
    long = torch.arange(ROWS * 6).reshape(ROWS, 6)[SHARE:]
    expected = torch.cat([torch.nn.functional.pad(short, (0, 2), value=-1), long])
    values, _, _ = whole()
    for rank, found in enumerate(each["texts"] for each in ranks):
        assert torch.equal(found["tokens"], expected)
        assert torch.equal(found["mask"], (expected >= 0) & (expected % 3 != 0))
        assert found["states"].shape == (ROWS, 6, DIM)
        assert torch.equal(found["states"][found["mask"]], values[:, None].expand(-1, 6, -1)[found["mask"]])
        assert found["first"].item() == rank * SHARE
        assert torch.equal(found["float"], values)


def test_one_rank_gathers_what_it_has() -> None:
    rows = torch.rand(ROWS, DIM, requires_grad=True)
    assert gather(rows) is rows
    assert gather_texts(rows) is rows
    assert first_row(ROWS) == 0
