"""Captioning: what follows is predicted from what came before, in one direction or in both."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.vlp_core.recipes.builders import END, PAD, START, WORDS, batch
from vlp_core.objectives.captioning import BACKWARD, FORWARD, Captioning, Reversed
from vlp_core.sequence import Fused
from vlp_core.view import IGNORE, Words

TEXTS = torch.tensor([[START, 10, 11, 12, END], [START, 13, END, PAD, PAD], [START, 14, 15, END, PAD]])


def reversed_texts(tokens: Tensor) -> Tensor:
    return Reversed().apply(tokens, torch.zeros(len(tokens)), WORDS, None).tokens  # type: ignore[arg-type]


@dataclass
class Scores:
    """A view whose states are the logits themselves."""

    tokens: Tensor
    logits: dict[str, Tensor]

    @property
    def batch(self) -> SimpleNamespace:
        return SimpleNamespace(tokens=self.tokens)

    @property
    def model(self) -> SimpleNamespace:
        return SimpleNamespace(vocabulary=WORDS)

    def words(self, change: Reversed) -> Words:
        return change.apply(self.tokens, torch.zeros(len(self.tokens)), WORDS, None)  # type: ignore[arg-type]

    def fused(self, *, words: Reversed | None, attention: str) -> Fused:
        assert (words is None) == (attention == FORWARD)
        return Fused(text=self.logits[attention])


def scores() -> Scores:
    draw = torch.Generator().manual_seed(0)
    shape = (*TEXTS.shape, WORDS.size)
    return Scores(TEXTS, {direction: torch.randn(shape, generator=draw) for direction in (FORWARD, BACKWARD)})


def by_hand(logits: Tensor, texts: list[list[int]]) -> float:
    """The mean of −log p over every token but the first of each text."""
    surprises = [
        -math.log(math.exp(logits[row, place, token]) / sum(map(math.exp, logits[row, place].tolist())))
        for row, text in enumerate(texts)
        for place, token in enumerate(text[1:])
    ]
    return sum(surprises) / len(surprises)


AHEAD = [[START, 10, 11, 12, END], [START, 13, END], [START, 14, 15, END]]
BACK = [[START, 12, 11, 10, END], [START, 13, END], [START, 15, 14, END]]


@pytest.mark.parametrize(
    ("directions", "texts"),
    [((FORWARD,), {FORWARD: AHEAD}), ((FORWARD, BACKWARD), {FORWARD: AHEAD, BACKWARD: BACK})],
    ids=["ahead", "both ways"],
)
def test_the_loss_is_the_one_by_hand(directions: tuple[str, ...], texts: dict[str, list[list[int]]]) -> None:
    view = scores()
    loss = Captioning(torch.nn.Identity(), directions=directions)(view)
    expected = sum(by_hand(view.logits[direction], written) for direction, written in texts.items())
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_smoothing_is_torchs() -> None:
    view = scores()
    loss = Captioning(torch.nn.Identity(), smoothing=0.1)(view)
    logits, targets = Captioning(torch.nn.Identity()).predict(view)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_texts_are_turned_between_their_start_and_their_end() -> None:
    expected = torch.full_like(TEXTS, PAD)
    for row, text in enumerate(BACK):
        expected[row, : len(text)] = torch.tensor(text)
    assert torch.equal(reversed_texts(TEXTS), expected)


def test_turned_twice_a_text_is_as_it_was() -> None:
    tokens = batch(20, longest=12).tokens
    assert torch.equal(reversed_texts(reversed_texts(tokens)), tokens)
