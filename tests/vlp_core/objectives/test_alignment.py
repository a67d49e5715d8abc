from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.objectives.alignment import WordPatchAlignment, transport
from vlp_core.recipes.vilt import ViLT
from vlp_core.view import IGNORE, Pairs, View

ROWS = torch.tensor([[True, True, True, False], [False, True, True, True], [True, False, False, False]])
COLUMNS = torch.tensor([[False, True, True, True, True], [False, True, True, False, False], [True] * 5])


def costs() -> torch.Tensor:
    return 2 * torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))


def ipot(cost: np.ndarray, beta: float, steps: int) -> np.ndarray:
    """Algorithm 1 of arXiv:1802.04307 for one pair without padding, in double precision."""
    words, places = cost.shape
    b = np.full(places, 1 / places)
    plan, kernel = np.ones_like(cost), np.exp(-cost / beta)
    for _ in range(steps):
        q = kernel * plan
        a = 1 / (words * (q @ b))
        b = 1 / (places * (q.T @ a))
        plan = np.diag(a) @ q @ np.diag(b)
    return plan


@pytest.mark.parametrize(("beta", "steps"), [(0.5, 50), (0.5, 1), (0.1, 20)])
def test_the_plan_is_that_of_the_algorithm_on_what_is_there(beta: float, steps: int):
    cost = costs()
    plan = transport(cost, ROWS, COLUMNS, beta=beta, steps=steps)
    for i in range(3):
        inside = np.ix_(ROWS[i].numpy(), COLUMNS[i].numpy())
        expected = np.zeros((4, 5))
        expected[inside] = ipot(cost[i].double().numpy()[inside], beta, steps)
        np.testing.assert_allclose(plan[i].numpy(), expected, atol=1e-5)


def test_each_word_gives_and_each_place_takes_an_equal_share():
    plan = transport(costs(), ROWS, COLUMNS, steps=400)
    torch.testing.assert_close(plan.sum(dim=2), ROWS / ROWS.sum(dim=1, keepdim=True), atol=1e-4, rtol=0)
    torch.testing.assert_close(plan.sum(dim=1), COLUMNS / COLUMNS.sum(dim=1, keepdim=True), atol=1e-4, rtol=0)


def test_the_plan_comes_near_the_cheapest_one():
    """Between equally many words and places the cheapest plan is an assignment."""
    from scipy.optimize import linear_sum_assignment

    cost = 2 * torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(1))
    every = torch.ones(1, 5, dtype=torch.bool)
    rows, columns = linear_sum_assignment(cost[0].numpy())
    least = cost[0][rows, columns].mean()
    found = (transport(cost, every, every, steps=2000) * cost).sum()
    assert found.item() == pytest.approx(least.item(), abs=0.01)


def test_no_gradient_goes_through_the_plan():
    cost = costs().requires_grad_()
    plan = transport(cost, ROWS, COLUMNS)
    assert not plan.requires_grad
    (plan * cost).sum().backward()
    assert torch.equal(cost.grad, plan)


def test_where_there_is_no_word_nothing_is_moved():
    plan = transport(costs(), torch.zeros_like(ROWS), COLUMNS)
    assert plan.isfinite().all()
    assert plan.eq(0).all()


@dataclass(frozen=True)
class Swapped:
    """The first two texts stay with their pictures, the others get the next one's; the last has found no stranger."""

    def choose(self, view: View) -> Pairs:
        own = torch.arange(len(view.batch))
        label = (own < 2).long()
        label[-1] = IGNORE
        return Pairs(torch.where(label == 1, own, (own + 1) % len(own)), own, label)


def aligned(before: int) -> tuple[torch.Tensor, View]:
    torch.manual_seed(0)
    no_special = replace(
        WORDS, special=frozenset({WORDS.start, WORDS.end})
    )  # padding is a word elsewhere, as in CLIP's
    system = ViLT(trunk=(16, 1, 2), patch=16, image_size=64).build(no_special).eval()
    image = system.model.image
    encode = image.forward
    image.forward = lambda *given: encode(*given)._replace(before=before)  # type: ignore[method-assign]
    view = system.view(batch(5, longest=8))
    assert isinstance(view, View)
    return WordPatchAlignment(Swapped())(view), view


@pytest.mark.parametrize("before", [1, 0])
def test_matched_pairs_count_for_and_others_against_over_words_and_places_alone(before: int):
    """No special token, no padding, no state of the whole picture, where there is one, and no pair without a label."""
    loss, view = aligned(before)
    fused, tokens, expected = view.fused(pairs=Swapped()), view.batch.tokens, 0.0
    for i in range(4):
        words = fused.text[i][[token not in WORDS.special for token in tokens[i].tolist()]]
        places = fused.image[i][before:]
        cost = (1 - F.cosine_similarity(words[:, None], places[None], dim=-1)).detach().double().numpy()
        distance = (ipot(cost, 0.5, 50) * cost).sum()
        expected += (distance if i < 2 else -distance) / 4
    assert loss.item() == pytest.approx(expected, abs=1e-5)
