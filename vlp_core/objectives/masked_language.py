"""Masked language modelling: hidden words are told from the rest and from the picture (BERT, arXiv:1810.04805, 3.1)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.gather import global_mean
from vlp_core.nn.keyed import uniform
from vlp_core.view import IGNORE, RandomPlaces, View, Words
from vlp_core.vocabulary import Vocabulary, WordTables


@dataclass(frozen=True)
class Masking:
    """A share of the tokens is asked for: of these a part (`hidden`) become [MASK], a part (`random`) a random token,
    and the rest stay.

    Of whole words all tokens or none (ViLT, arXiv:2102.03334, section 3.2). Special tokens and padding never.
    """

    share: float = 0.15
    whole_words: bool = False
    purpose: str = "masking"
    hidden: float = 0.8
    random: float = 0.1

    def apply(self, tokens: Tensor, keys: Tensor, vocabulary: Vocabulary, tables: WordTables) -> Words:
        assert vocabulary.mask is not None, "a tokenizer without a mask token"
        length = tokens.shape[1]
        chance = uniform(keys, self.purpose, length)
        if self.whole_words:
            word = (~tables.continuing[tokens]).cumsum(dim=1) - 1  # of each token, counted from the text's start
            chance = chance.gather(1, word.clamp(min=0))
        chosen = (chance < self.share) & ~tables.special[tokens]
        fate = uniform(keys, f"{self.purpose} fate", length)
        words = uniform(keys, f"{self.purpose} words", length)
        replaced = torch.where(fate < self.hidden, vocabulary.mask, tokens)
        random = tables.words[(words * len(tables.words)).long()]
        replaced = torch.where((fate >= self.hidden) & (fate < self.hidden + self.random), random, replaced)
        return Words(torch.where(chosen, replaced, tokens), torch.where(chosen, tokens, IGNORE))


class MaskedLanguage(nn.Module):
    """Cross-entropy of the words that `masking` hides, read out of the fused pair by `head`.

    image: places of the picture that are hidden in the same pass (VLC). attention: who sees whom (UFO).
    distilled: the weight of the twin's answers among the targets, which grows to this over `ramp` epochs
        (ALBEF, arXiv:2107.07651, section 3.3).
    """

    def __init__(
        self,
        head: nn.Module,
        masking: Masking,
        *,
        image: RandomPlaces | None = None,
        attention: str = "full",
        distilled: float = 0.0,
        ramp: float = 1.0,
    ) -> None:
        super().__init__()
        self.head, self.masking, self.image, self.attention = head, masking, image, attention
        self.distilled, self.ramp = distilled, ramp

    def forward(self, view: View) -> Tensor:
        logits, targets = self.predict(view)
        loss = F.cross_entropy(logits.float(), targets, reduction="none")
        if self.distilled:
            assert view.twin is not None, "the system of this objective has a twin"
            share = self.distilled * min(1.0, view.batch.epoch / self.ramp)
            hidden = view.words(self.masking).hidden
            answers = self._logits(view.twin, view.twin_of(self.head), hidden).float().softmax(dim=-1)
            soft = -(answers * logits.float().log_softmax(dim=-1)).sum(dim=-1)
            loss = (1 - share) * loss + share * soft
        return global_mean(loss.sum(), torch.full((), len(loss), device=loss.device))

    def predict(self, view: View) -> tuple[Tensor, Tensor]:
        """Logits [K, V] and targets int64 [K] of the hidden words."""
        words = view.words(self.masking)
        return self._logits(view, self.head, words.hidden), words.targets.flatten().index_select(0, words.hidden)

    def _logits(self, view: View, head: nn.Module, hidden: Tensor) -> Tensor:
        states = view.fused(words=self.masking, image=self.image, attention=self.attention).text
        assert states is not None
        logits: Tensor = head(states.flatten(0, 1).index_select(0, hidden))
        return logits
