"""A system that writes: what it holds likely as the next token of each text."""

from typing import cast

import torch
from torch import Tensor, nn

from vlp_core.encoders.words import WordEncoder
from vlp_core.errors import UserError
from vlp_core.model import VLModel
from vlp_core.nn.blocks import Cache
from vlp_core.objectives.captioning import FORWARD, Captioning
from vlp_core.sequence import Sequence
from vlp_core.system import System


class Writer:
    """B texts of equal length that grow by a token at a time, each about its picture.

    Tokens that stand for no word are never written: the padding, the starts, the mask; the last place that is left is
    for the end alone. `seen`: what the model makes of the pictures.
    """

    def __init__(self, system: System, pixels: Tensor, *, longest: int | None = None, cached: bool = True) -> None:
        """See `vlp_core.generate.generate`."""
        self.head = _head(system)
        self.model = cast(VLModel, system.model)
        self.vocabulary = vocabulary = self.model.vocabulary
        self.longest = longest or vocabulary.length
        if not 2 <= self.longest <= vocabulary.length:
            raise UserError(f"captions of {longest} tokens: give from 2 (start and end) to {vocabulary.length}")
        first = vocabulary.start if vocabulary.decode is None else vocabulary.decode
        self._read = torch.full((len(pixels), 1), first, device=pixels.device)
        self.seen = self.model.see(self.model.normalise(pixels))
        self._barred = _barred(self.model)
        self._cached, self._words, self._fused = cached, Cache(), Cache()

    def __len__(self) -> int:
        return len(self._read)

    @property
    def device(self) -> torch.device:
        return self._read.device

    @property
    def length(self) -> int:
        """Tokens of each text so far, its start among them."""
        return self._read.shape[1]

    def next(self) -> Tensor:
        """The logarithms of the next token's probabilities among those that may be written, float32 [B, V].

        Raises UserError where they are not numbers.
        """
        states = self._states()[:, -1]
        scores = self.head(states).float().masked_fill(self._barred, float("-inf")).log_softmax(dim=-1)
        if scores[:, self.vocabulary.end].isnan().any():  # then all of its row is
            raise UserError(
                "the system's scores of words are not numbers: its weights have diverged; take an earlier checkpoint, "
                "or train it with a lower --train.lr"
            )
        if self.length == self.longest - 1:
            others = torch.arange(scores.shape[1], device=scores.device) != self.vocabulary.end
            scores = scores.masked_fill(others, float("-inf"))
        return scores

    def add(self, tokens: Tensor) -> None:
        """Put a token int64 [B] after each text."""
        self._read = torch.cat([self._read, tokens[:, None]], dim=1)

    def repeat(self, times: int) -> None:
        """Go on with so many of each text, one after the other; before a token is written."""
        index = torch.arange(len(self), device=self.device).repeat_interleave(times)
        self._read, self.seen = self._read[index], self.seen.rows(index)

    def rows(self, index: Tensor) -> None:
        """Go on with these texts, int64 [B]: each about the picture of the one whose place it takes."""
        self._read = self._read[index]
        self._words.rows(index)
        self._fused.rows(index)

    def texts(self) -> Tensor:
        """int64 [B, L]: what was written, as a tokenizer gives texts."""
        start = torch.full_like(self._read[:, :1], self.vocabulary.start)
        return torch.cat([start, self._read[:, 1:]], dim=1)

    def _states(self) -> Tensor:
        if not self._cached:
            self._words, self._fused = Cache(), Cache()
        past = self._fused.length
        tokens = self._read[:, past:]
        text = self.model.text
        read = text(tokens, cache=self._words) if isinstance(text, WordEncoder) else text(tokens, past=past)
        fused = self.model.fusion(self.seen, cast(Sequence, read), FORWARD, cache=self._fused)
        return cast(Tensor, fused.text)


def _head(system: System) -> nn.Module:
    """The head of the system's Captioning objective."""
    objective = system.objective(Captioning)
    if objective is not None and FORWARD in objective.directions:
        return objective.head
    raise UserError(
        f"a system of {', '.join(system.objectives)} writes no captions; give one with a captioning objective"
    )


def _barred(model: VLModel) -> Tensor:
    """bool [V]: tokens that are never written."""
    vocabulary = model.vocabulary
    barred = model.tables.special.clone()
    for token in (vocabulary.pad, vocabulary.start, vocabulary.mask, vocabulary.decode, vocabulary.encode):
        if token is not None:
            barred[token] = True
    barred[vocabulary.end] = False
    return barred
