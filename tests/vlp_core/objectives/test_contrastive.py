"""InfoNCE and SigLIP's loss are open_clip's, on one rank and on two."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from tests.vlp_core.ranks import RANKS, together
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.sigmoid import Sigmoid

ROWS, DIM = 6, 5
SHARE = ROWS // RANKS
OBJECTIVES = {"softmax": Contrastive(), "sigmoid": Sigmoid()}
BOTH = pytest.mark.parametrize("name", OBJECTIVES)


@dataclass
class Vectors:
    """A view of given vectors, instead of a model's."""

    images: Tensor
    texts: Tensor
    log_scale: Tensor
    added: Tensor

    def image_vectors(self) -> Tensor:
        return F.normalize(self.images, dim=1)

    def text_vectors(self) -> Tensor:
        return F.normalize(self.texts, dim=1)

    def scale(self) -> Tensor:
        return self.log_scale.exp()

    def bias(self) -> Tensor:
        return self.added


def vectors(rows: slice = slice(None)) -> Vectors:
    random = torch.Generator().manual_seed(3)
    images, texts = (torch.randn(ROWS, DIM, generator=random) for _ in range(2))
    leaves = (images[rows].clone(), texts[rows].clone(), torch.tensor([2.0]), torch.tensor([-3.0]))
    return Vectors(*(leaf.requires_grad_() for leaf in leaves))


def with_gradients(loss: Tensor, view: Vectors) -> list[Tensor]:
    """The loss, and its gradient on each leaf (0 where there is none)."""
    leaves = [view.images, view.texts, view.log_scale, view.added]
    return [loss.detach(), *torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)]


def ours(name: str, rows: slice = slice(None)) -> list[Tensor]:
    view = vectors(rows)
    return with_gradients(OBJECTIVES[name](view), view)


def theirs(name: str) -> list[Tensor]:
    from open_clip.loss import ClipLoss, SigLipLoss  # here, because the ranks do without

    view = vectors()
    given = (view.image_vectors(), view.text_vectors(), view.scale())
    return with_gradients(SigLipLoss()(*given, view.bias()) if name == "sigmoid" else ClipLoss()(*given), view)


def assert_all_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for value, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(value, reference, atol=1e-5, rtol=0)


@BOTH
def test_loss_and_gradients_are_those_of_open_clip(name: str) -> None:
    assert_all_close(ours(name), theirs(name))


@BOTH
def test_similarities_are_in_fp32_under_autocast(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss = OBJECTIVES[name](vectors())
    assert loss.item() == pytest.approx(ours(name)[0].item(), rel=1e-6)


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    rows = slice(rank * SHARE, (rank + 1) * SHARE)
    torch.save({name: ours(name, rows) for name in OBJECTIVES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    folder = together(one_rank, tmp_path_factory.mktemp("ranks"))
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(RANKS)]


@BOTH
def test_two_ranks_have_the_loss_and_the_gradients_of_the_whole_batch(
    name: str, by_rank: list[dict[str, list[Tensor]]]
) -> None:
    """Averaged over ranks, as every engine does, what flows back through the gather is the whole batch's gradient."""
    loss, images, texts, *scalars = zip(*(found[name] for found in by_rank), strict=True)
    averaged = [sum(loss), torch.cat(images), torch.cat(texts), *map(sum, scalars)]
    assert_all_close([value / RANKS for value in averaged], theirs(name))
