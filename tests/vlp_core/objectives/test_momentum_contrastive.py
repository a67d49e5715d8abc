"""The contrast against a twin and a queue."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.vlp_core.objectives.vectors import Vectors, vectors
from tests.vlp_core.ranks import RANKS, together
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.momentum_contrastive import MomentumContrastive

ROWS, DIM, STEPS = 6, 5, 4


def objective(size: int = 9, alpha: float = 0.4, ramp: float = 1.0) -> MomentumContrastive:
    return MomentumContrastive(queue=size, dim=DIM, alpha=alpha, ramp=ramp)


def by_hand(view: Vectors, earlier: list[Vectors], share: float) -> float:
    """Sums written out, a row and a candidate at a time; `earlier`: the batches in the queue."""
    twin = view.twin
    assert twin is not None
    everybody = [twin, *(past.twin for past in earlier if past.twin is not None)]
    ids = [
        pair
        for each in everybody
        for pair in zip(each.batch.image_id.tolist(), each.batch.text_id.tolist(), strict=True)
    ]
    scale, total = view.scale().item(), 0.0
    for own, other, candidates in (
        (view.image_vectors().detach(), twin.image_vectors(), torch.cat([each.text_vectors() for each in everybody])),
        (view.text_vectors().detach(), twin.text_vectors(), torch.cat([each.image_vectors() for each in everybody])),
    ):
        for row in range(len(own)):
            scores = [scale * float(own[row] @ candidate) for candidate in candidates]
            answers = [math.exp(scale * float(other[row] @ candidate)) for candidate in candidates]
            mine = ids[row]
            same = [image == mine[0] or text == mine[1] for image, text in ids]
            partition = math.log(sum(map(math.exp, scores)))
            for score, answer, positive in zip(scores, answers, same, strict=True):
                target = share * answer / sum(answers) + (1 - share) * positive / sum(same)
                total -= target * (score - partition) / len(own) / 2
    return total


def renamed(view: Vectors, images: list[int], texts: list[int]) -> Vectors:
    named = replace(view.batch, image_id=torch.tensor(images), text_id=torch.tensor(texts))
    assert view.twin is not None
    return replace(view, batch=named, twin=replace(view.twin, batch=named))


def test_the_loss_is_that_of_the_paper_by_hand() -> None:
    """Three items, of which two share a picture, and a queue that holds one of them and one that says the same."""
    earlier = renamed(vectors(3, seed=1), [5, 0, 7], [5, 0, 2])
    view = renamed(vectors(3, seed=2), [0, 1, 0], [1, 2, 3])
    built = objective()
    built(earlier)
    assert built(view).item() == pytest.approx(by_hand(view, [earlier], share=0.4 * 0.5), rel=1e-5)


@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.0), (0.5, 0.1), (1.0, 0.2), (2.0, 0.4), (7.5, 0.4)])
def test_the_twins_weight_grows_to_alpha_over_the_ramp(epoch: float, share: float) -> None:
    view = vectors(3)
    view = replace(view, batch=replace(view.batch, epoch=epoch))
    assert objective(ramp=2.0)(view).item() == pytest.approx(by_hand(view, [], share), rel=1e-5)


def test_with_a_twin_that_is_the_model_no_queue_and_no_weight_it_is_the_plain_contrast() -> None:
    view = vectors(ROWS)
    view.twin = replace(view, images=view.images.detach(), texts=view.texts.detach(), twin=None)
    torch.testing.assert_close(objective(alpha=0.0)(view), Contrastive()(view))


def test_the_queue_takes_the_twins_vectors_after_the_loss_and_in_training_alone() -> None:
    built, view = objective(), vectors(3)
    built(replace(view, training=False))
    assert not built.queue.filled().any()
    built(view)
    assert built.queue.filled().tolist() == [True] * 3 + [False] * 6
    assert view.twin is not None
    torch.testing.assert_close(built.queue.images[:3], view.twin.image_vectors())
    torch.testing.assert_close(built.queue.texts[:3], view.twin.text_vectors())


def test_the_gradient_reaches_the_model_and_not_the_twin() -> None:
    view = vectors(3)
    assert view.twin is not None
    view.twin.images.requires_grad_()
    built = objective()
    built(view)
    built(view).backward()
    assert all(
        leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in (view.images, view.texts, view.log_scale)
    )
    assert view.twin.images.grad is None


def test_similarities_are_in_fp32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective()(vectors(ROWS))
    assert loss.item() == pytest.approx(objective()(vectors(ROWS)).item(), rel=1e-6)


def several_steps(share: slice) -> dict[str, torch.Tensor]:
    """Losses and gradients of batches one after the other, and the queue, which wraps around."""
    built, found = objective(size=2 * ROWS + 1), {}
    for step in range(STEPS):
        view = vectors(ROWS, seed=step, share=share)
        loss = built(view)
        gradients = torch.autograd.grad(loss, [view.images, view.texts, view.log_scale])
        found |= {f"{step} loss": loss.detach(), f"{step} scale": gradients[2]}
        found |= {f"{step} images": gradients[0], f"{step} texts": gradients[1]}
    return {**found, **{f"queue {name}": value for name, value in built.queue.state_dict().items()}}


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    share = ROWS // RANKS
    torch.save(several_steps(slice(rank * share, (rank + 1) * share)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_have_the_loss_the_gradient_and_the_queue_of_the_whole_batch(tmp_path: Path) -> None:
    together(one_rank, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    for name, expected in several_steps(slice(None)).items():
        parts = [rank[name] for rank in ranks]
        if name.startswith("queue"):
            assert all(torch.equal(part, expected) for part in parts), name
        elif name.endswith(("images", "texts")):
            torch.testing.assert_close(torch.cat(parts) / RANKS, expected, msg=name)
        else:
            torch.testing.assert_close(sum(parts) / RANKS, expected, msg=name)
