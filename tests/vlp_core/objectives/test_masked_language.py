import math
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.vlp_core.recipes.builders import MASK, WORDS, batch
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.sequence import Fused
from vlp_core.view import IGNORE, Words
from vlp_core.vocabulary import Vocabulary, WordTables

ROWS = 3000
GIVEN = batch(ROWS, size=8, longest=14)
TABLES = WordTables(WORDS)
BOTH = pytest.mark.parametrize("whole_words", [False, True])


def masked(masking: Masking, tokens: torch.Tensor = GIVEN.tokens, keys: torch.Tensor = GIVEN.key) -> Words:
    return masking.apply(tokens, keys, WORDS, TABLES)


def near(count: torch.Tensor, of: torch.Tensor | int, share: float, together: float = 1.0) -> bool:
    """Whether a binomial count lies within five standard deviations; `together`: how many are drawn as one."""
    n = float(of)
    return abs(float(count) - share * n) < 5 * math.sqrt(share * (1 - share) * n * together)


@BOTH
def test_of_15_in_100_words_80_in_100_are_masked_10_random_and_10_kept(whole_words: bool):
    words = masked(Masking(0.15, whole_words=whole_words))
    asked = words.targets != IGNORE
    usual = ~TABLES.special[GIVEN.tokens]
    assert near(asked.sum(), usual.sum(), 0.15, together=3.0 if whole_words else 1.0)
    assert torch.equal(words.targets[asked], GIVEN.tokens[asked])
    assert torch.equal(words.tokens[~asked], GIVEN.tokens[~asked])
    hidden, kept = words.tokens[asked] == MASK, words.tokens[asked] == GIVEN.tokens[asked]
    assert near(hidden.sum(), asked.sum(), 0.8)
    same_by_chance = 0.1 / len(TABLES.words)
    assert near(kept.sum(), asked.sum(), 0.1 + same_by_chance)
    random = words.tokens[asked][~hidden & ~kept]
    assert not TABLES.special[random].any()
    assert len(random.unique()) == len(TABLES.words)


@BOTH
def test_special_tokens_and_padding_are_never_asked_for(whole_words: bool):
    words = masked(Masking(1.0, whole_words=whole_words))
    special = TABLES.special[GIVEN.tokens]
    assert torch.equal(words.targets == IGNORE, special)
    assert torch.equal(words.tokens[special], GIVEN.tokens[special])


def test_of_whole_words_all_tokens_are_asked_for_or_none():
    words = masked(Masking(0.15, whole_words=True))
    asked, continuing = words.targets != IGNORE, TABLES.continuing[GIVEN.tokens]
    assert torch.equal(asked[:, 1:][continuing[:, 1:]], asked[:, :-1][continuing[:, 1:]])
    begins = ~continuing & ~TABLES.special[GIVEN.tokens]
    assert near(asked[begins].sum(), begins.sum(), 0.15)
    pieces = masked(Masking(0.15))
    torn = (pieces.targets != IGNORE)[:, 1:] != (pieces.targets != IGNORE)[:, :-1]
    assert (torn & continuing[:, 1:]).any()


@BOTH
def test_a_sample_is_masked_by_its_key_wherever_it_stands(whole_words: bool):
    masking = Masking(0.15, whole_words=whole_words)
    everything = masked(masking)
    some = torch.tensor([5, 2, 17])
    longer = F.pad(GIVEN.tokens[some], (0, 4), value=WORDS.pad)
    for tokens in (GIVEN.tokens[some], longer):
        found = masked(masking, tokens, GIVEN.key[some])
        width = GIVEN.tokens.shape[1]
        assert torch.equal(found.tokens[:, :width], everything.tokens[some])
        assert torch.equal(found.targets[:, :width], everything.targets[some])
    for other in (
        masked(masking, keys=GIVEN.key + 1),
        masked(replace(masking, purpose="another")),
    ):
        assert not torch.equal(other.targets, everything.targets)


@dataclass(frozen=True)
class Second:
    """Asks for the second token of each text but the last."""

    def apply(self, tokens: torch.Tensor, _keys: torch.Tensor, _: Vocabulary, _tables: WordTables) -> Words:
        targets = torch.full_like(tokens, IGNORE)
        targets[:-1, 1] = tokens[:-1, 1]
        return Words(tokens, targets)


class Scores:
    """A view whose states are the logits."""

    def __init__(self, tokens: torch.Tensor, logits: torch.Tensor) -> None:
        self.tokens, self.logits, self.twin = tokens, logits, None

    def words(self, change: Second) -> Words:
        return change.apply(self.tokens, self.tokens[:, 0], WORDS, TABLES)

    def fused(self, **_passed: object) -> Fused:
        return Fused(text=self.logits)


def test_the_loss_is_the_mean_cross_entropy_of_what_was_asked_for():
    tokens = torch.tensor([[2, 8, 3], [2, 9, 3], [2, 10, 3]])
    logits = torch.randn(3, 3, WORDS.size, generator=torch.Generator().manual_seed(0))
    objective = MaskedLanguage(nn.Identity(), Second())  # type: ignore[arg-type]
    expected = torch.stack([logits[row, 1].logsumexp(0) - logits[row, 1, 8 + row] for row in range(2)]).mean()
    torch.testing.assert_close(objective(Scores(tokens, logits)), expected)


def test_with_nothing_asked_for_the_loss_is_0_and_carries_a_gradient():
    tokens = torch.tensor([[2, 8, 3]])
    logits = torch.randn(1, 3, WORDS.size, requires_grad=True)
    loss = MaskedLanguage(nn.Identity(), Second())(Scores(tokens, logits))  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.eq(0).all()
