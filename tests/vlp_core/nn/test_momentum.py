"""The twin is the moving mean of what it follows."""

import copy

import pytest
import torch
from torch import nn

from vlp_core.nn.momentum import Momentum


def network() -> nn.Sequential:
    """With a weight that two parts share, and statistics."""
    torch.manual_seed(0)
    first, last = nn.Linear(4, 4), nn.Linear(4, 4)
    last.weight = first.weight
    return nn.Sequential(first, nn.BatchNorm1d(4), last)


def train(source: nn.Module, step: int) -> None:
    """Move every weight by its own amount, and the statistics with them."""
    with torch.no_grad():
        for number, parameter in enumerate(source.parameters()):
            parameter.add_(torch.full_like(parameter, 0.1 * (number + 1) * (step + 1)))
    source.train()(torch.full((3, 4), float(step)) + torch.arange(3.0)[:, None])


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.995, 1.0])
def test_weights_follow_by_equation_2(decay: float) -> None:
    """θ_k ← m · θ_k + (1 − m) · θ_q, here as the sum that this comes to: m^n · θ_0 + Σ (1 − m) · m^(n − i) · θ_i."""
    source = network()
    twin = Momentum(source, decay)
    history = [copy.deepcopy(source)]
    steps = 6
    for step in range(steps):
        train(source, step)
        history.append(copy.deepcopy(source))
        twin.update()
    for name, found in twin.twin.named_parameters():
        seen = [dict(past.named_parameters())[name].double() for past in history]
        expected = decay**steps * seen[0]
        expected = expected + sum((1 - decay) * decay ** (steps - i) * seen[i] for i in range(1, steps + 1))
        torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)


def test_statistics_are_taken_over_and_shared_weights_stay_shared() -> None:
    source = network()
    twin = Momentum(source, 0.99)
    train(source, 1)
    twin.update()
    for mine, theirs in zip(twin.twin.buffers(), source.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert twin.twin[0].weight is twin.twin[2].weight
    assert twin.twin[0].weight is not source[0].weight


def test_a_part_beside_shares_with_the_twin_what_it_shares_with_the_source_and_follows_once() -> None:
    source, head = network(), nn.Linear(4, 4)
    head.weight = source[0].weight
    twin = Momentum(source, 0.9, beside=[head])
    with torch.no_grad():
        expected = {name: value + 0.1 for name, value in head.named_parameters()}
        for value in head.parameters():
            value += 1.0
    twin.update()
    assert twin.of(source) is twin.twin and twin.of(head).weight is twin.twin[0].weight
    for name, value in twin.of(head).named_parameters():
        torch.testing.assert_close(value, expected[name].detach())
    twin.reset()
    assert torch.equal(twin.of(head).bias, head.bias)


def test_the_twin_is_frozen_and_what_it_follows_is_not() -> None:
    source = network()
    twin = Momentum(source, 0.9)
    assert not twin.twin(torch.ones(2, 4)).requires_grad
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert all(parameter.requires_grad for parameter in source.parameters())
    assert len(list(twin.parameters())) == len(list(source.parameters())), "the source is no part of it"


def test_a_twin_that_is_reset_is_what_it_follows() -> None:
    source = network()
    twin = Momentum(source, 0.99)
    train(source, 3)
    twin.reset()
    for name, value in source.state_dict().items():
        assert torch.equal(twin.twin.state_dict()[name], value), name


def test_a_twin_in_fp32_follows_a_source_in_bf16() -> None:
    """A step of a two-hundredth is less than bf16 can tell from 1."""
    source = nn.Linear(1, 1, bias=False)
    nn.init.ones_(source.weight)
    twin = Momentum(source, 0.995)
    source.to(torch.bfloat16).weight.data.fill_(1.5)
    twin.update()
    assert twin.twin.weight.item() == pytest.approx(1.0025)
