from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.sigmoid import Sigmoid

ROWS, DIM, RANKS = 6, 5, 2


@dataclass
class Vectors:
    """A view of given vectors, instead of a model's."""

    images: torch.Tensor
    texts: torch.Tensor
    log_scale: torch.Tensor

    def image_vectors(self):
        return F.normalize(self.images, dim=1)

    def text_vectors(self):
        return F.normalize(self.texts, dim=1)

    def scale(self):
        return self.log_scale.exp()


def vectors(rows: slice = slice(None)) -> Vectors:
    random = torch.Generator().manual_seed(3)
    images, texts = (torch.randn(ROWS, DIM, generator=random) for _ in range(2))
    leaves = (images[rows].clone(), texts[rows].clone(), torch.tensor([2.0]))
    return Vectors(*(leaf.requires_grad_() for leaf in leaves))


def gradients(view: Vectors) -> list[torch.Tensor]:
    loss = Contrastive()(view)
    return [loss.detach(), *torch.autograd.grad(loss, [view.images, view.texts, view.log_scale])]


def test_loss_and_gradients_are_those_of_open_clip():
    from open_clip.loss import ClipLoss

    view = vectors()
    theirs = ClipLoss()(view.image_vectors(), view.text_vectors(), view.scale())
    expected = [theirs.detach(), *torch.autograd.grad(theirs, [view.images, view.texts, view.log_scale])]
    for value, reference in zip(gradients(view), expected, strict=True):
        torch.testing.assert_close(value, reference)


def test_sigmoid_loss_is_that_of_open_clip():
    from open_clip.loss import SigLipLoss

    view, bias = vectors(), torch.tensor([-3.0], requires_grad=True)
    view.bias = lambda: bias  # type: ignore[attr-defined]
    leaves = [view.images, view.texts, view.log_scale, bias]
    ours, theirs = Sigmoid()(view), SigLipLoss()(view.image_vectors(), view.text_vectors(), view.scale(), bias)
    torch.testing.assert_close(ours, theirs)
    for value, reference in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True):
        torch.testing.assert_close(value, reference)


def test_similarities_are_in_fp32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        loss = Contrastive()(vectors())
    assert loss.item() == pytest.approx(Contrastive()(vectors()).item(), rel=1e-6)


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    share = ROWS // RANKS
    torch.save(gradients(vectors(slice(rank * share, (rank + 1) * share))), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_have_the_gradient_of_the_whole_batch(tmp_path: Path):
    """Averaged over ranks, as every engine does, what flows back through the gather is the whole batch's gradient."""
    mp.spawn(one_rank, args=(str(tmp_path),), nprocs=RANKS)
    loss, images, texts, scale = zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)), strict=True)
    averaged = [sum(loss) / RANKS, torch.cat(images) / RANKS, torch.cat(texts) / RANKS, sum(scale) / RANKS]
    for value, reference in zip(averaged, gradients(vectors()), strict=True):
        torch.testing.assert_close(value, reference)
