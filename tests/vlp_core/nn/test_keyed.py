"""Random numbers by key: SplitMix64's, uniform, and of no place, order or rank."""

import math

import pytest
import torch

from vlp_core.identity import key_of
from vlp_core.nn.keyed import gumbel, uniform

ROWS, COUNT = 4096, 64
KEYS = torch.tensor([key_of("sample", row) - 2**63 for row in range(ROWS)])
IN_SEQUENCE = torch.arange(-ROWS // 2, ROWS // 2)  # the worst keys: neighbours that differ in few bits
BOTH = pytest.mark.parametrize("keys", [KEYS, IN_SEQUENCE], ids=["hashes", "neighbours"])
FIVE_SIGMA = 5.0


def splitmix64(state: int) -> int:
    """The finaliser in whole numbers (Steele, Lea and Flood, 2014, figure 15)."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
    return state ^ state >> 31


def test_numbers_are_those_of_splitmix64() -> None:
    keys = [0, 1, -1, 2**63 - 1, -(2**63), 12345678901234567]
    found = uniform(torch.tensor(keys), "masking", 5)
    for row, key in enumerate(keys):
        # The signed purpose is the unsigned one less 2⁶³, which turns its highest bit.
        stream = splitmix64((key % 2**64) ^ (key_of("masking") ^ 2**63))
        for column in range(5):
            bits = splitmix64((stream + (column + 1) * 0x9E3779B97F4A7C15) % 2**64)
            assert found[row, column].item() == (bits >> 40) / 2**24


def test_a_key_has_its_numbers_wherever_it_stands() -> None:
    """In another order, on one of two ranks, alone, or with more of them asked for."""
    whole = uniform(KEYS, "masking", 7)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    assert torch.equal(uniform(KEYS[order], "masking", 7), whole[order])
    assert torch.equal(torch.cat([uniform(share, "masking", 7) for share in KEYS.chunk(2)]), whole)
    assert torch.equal(uniform(KEYS[5:6], "masking", 3), whole[5:6, :3])


@BOTH
def test_numbers_look_uniform(keys: torch.Tensor) -> None:
    """Kolmogorov and Smirnov's distance over all, and χ² over 16 equal parts of some columns."""
    numbers = uniform(keys, "masking", COUNT)
    assert numbers.min() >= 0 and numbers.max() < 1
    ordered = numbers.flatten().double().sort().values
    steps = torch.arange(1, len(ordered) + 1) / len(ordered)
    assert (ordered - steps).abs().max() * math.sqrt(len(ordered)) < 2.0  # exceeded with p = 2·e⁻⁸
    for column in range(0, COUNT, 8):
        chi2 = _chi2((numbers[:, column] * 16).long(), 16)
        assert chi2 < 15 + FIVE_SIGMA * math.sqrt(30)


@BOTH
def test_neighbours_in_key_counter_and_purpose_tell_nothing_of_one_another(keys: torch.Tensor) -> None:
    numbers = uniform(keys, "masking", COUNT)
    pairs = {
        "key": (numbers[:-1], numbers[1:]),
        "counter": (numbers[:, :-1], numbers[:, 1:]),
        "purpose": (numbers, uniform(keys, "masking fate", COUNT)),
    }
    for name, (one, other) in pairs.items():
        one, other = one.flatten(), other.flatten()
        correlation = torch.corrcoef(torch.stack([one, other]))[0, 1]
        assert correlation.abs() * math.sqrt(len(one)) < FIVE_SIGMA, name
        joint = (one * 8).long() * 8 + (other * 8).long()
        assert _chi2(joint, 64) < 63 + FIVE_SIGMA * math.sqrt(126), name


def test_gumbel_draws_from_a_distribution() -> None:
    chances = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0])
    drawn = (chances.log() + gumbel(IN_SEQUENCE, "hard text", 5)).argmax(dim=1)
    shares = drawn.bincount(minlength=5) / ROWS
    assert shares[4] == 0
    assert ((shares - chances).abs() <= FIVE_SIGMA * (chances * (1 - chances) / ROWS).sqrt()).all()


def test_gumbel_is_finite_for_every_number_that_uniform_may_give(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = torch.tensor([[0.0, 2**-24, 0.5, 1 - 2**-24]])
    monkeypatch.setattr("vlp_core.nn.keyed.uniform", lambda *_: edges)
    found = gumbel(KEYS[:1], "hard text", 4)
    assert found.isfinite().all() and (found.diff() > 0).all()


def _chi2(bins: torch.Tensor, count: int) -> float:
    expected = len(bins) / count
    return float(((bins.bincount(minlength=count) - expected) ** 2 / expected).sum())
