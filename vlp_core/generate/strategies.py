"""How the next token of a text is chosen."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vlp_core.errors import UserError
from vlp_core.generate.writer import Writer
from vlp_core.nn.keyed import uniform

LEAST = float("-inf")


class Strategy(Protocol):
    def write(self, writer: Writer) -> Tensor:
        """Texts int64 [B, L] to their end."""


@dataclass(frozen=True)
class Greedy:
    """The likeliest token at each step."""

    def write(self, writer: Writer) -> Tensor:
        return _one_by_one(writer, self)

    def choose(self, scores: Tensor, _step: int) -> Tensor:
        """Logarithms of probabilities [B, V] -> tokens int64 [B]."""
        return scores.argmax(dim=1)


@dataclass(frozen=True, eq=False)
class Nucleus:
    """Drawn from the smallest set of tokens that holds `p` of the mass (Holtzman et al., 2019, arXiv:1904.09751).

    keys: int64 [B], of the samples: equal keys draw alike, whatever stands beside them in the batch.
    """

    keys: Tensor
    p: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise UserError(f"a nucleus of {self.p}: give a mass over 0 and up to 1")

    def write(self, writer: Writer) -> Tensor:
        return _one_by_one(writer, self)

    def choose(self, scores: Tensor, step: int) -> Tensor:
        """Logarithms of probabilities [B, V] -> tokens int64 [B]."""
        chance, tokens = scores.exp().sort(dim=1, descending=True, stable=True)
        before = chance.cumsum(dim=1) - chance
        chance = chance.masked_fill(before >= self.p, 0.0)
        reached = chance.cumsum(dim=1)
        drawn = uniform(self.keys, f"nucleus {step}", 1) * reached[:, -1:]
        # The first place whose sum is more than what was drawn; rounding must not lead out of the set.
        place = (reached <= drawn).sum(dim=1, keepdim=True).minimum((chance > 0).sum(dim=1, keepdim=True) - 1)
        return tokens.gather(1, place)[:, 0]


@dataclass(frozen=True)
class Beam:
    """The `width` best texts so far go on at each step; finished ones among them wait.

    penalty: texts are compared by their log-probability over (words and end) ** penalty: 0 by it alone, 1 by the mean
        of a token.
    """

    width: int = 3
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.penalty < 0:
            raise UserError(f"a beam of {self.width} with penalty {self.penalty}: give 1 or more, and 0 or more")

    def write(self, writer: Writer) -> Tensor:
        return self.search(writer)[0]

    def search(self, writer: Writer) -> tuple[Tensor, Tensor]:
        """The best texts int64 [B, L] and their log-probabilities float32 [B]."""
        rows, width, vocabulary = len(writer), self.width, writer.vocabulary
        first = torch.arange(rows, device=writer.device) * width
        writer.repeat(width)
        total = torch.full((rows, width), LEAST, device=writer.device)
        total[:, 0] = 0.0  # the beams begin alike, and one of them is enough
        written, done = torch.zeros_like(total), torch.zeros_like(total, dtype=torch.bool)
        while writer.length < writer.longest and not self._settled(total, written, done, writer.longest - 1):
            scores = writer.next().view(rows, width, -1).masked_fill(done[:, :, None], LEAST)
            # A finished text goes on with padding alone, which costs nothing.
            scores[:, :, vocabulary.pad] = torch.where(done, 0.0, LEAST)
            sums, longer = total[:, :, None] + scores, written + (~done).float()
            chosen = self._ranked(sums, longer[:, :, None]).flatten(1).topk(width, dim=1).indices
            beam, token = chosen // scores.shape[2], chosen % scores.shape[2]
            total, written = sums.flatten(1).gather(1, chosen), longer.gather(1, beam)
            done = done.gather(1, beam) | (token == vocabulary.end)
            writer.rows((first[:, None] + beam).flatten())
            writer.add(token.flatten())
        best = self._ranked(total, written).masked_fill(~done, LEAST).argmax(dim=1)
        return _trimmed(writer.texts()[first + best], vocabulary.end), total.gather(1, best[:, None])[:, 0]

    def _ranked(self, total: Tensor, written: Tensor) -> Tensor:
        return total / written.clamp(min=1) ** self.penalty

    def _settled(self, total: Tensor, written: Tensor, done: Tensor, most: int) -> bool:
        """Whether nothing that goes on can become better than what is done: it only loses by going on."""
        finished = self._ranked(total, written).masked_fill(~done, LEAST).amax(dim=1, keepdim=True)
        hope = (total / most**self.penalty).masked_fill(done, LEAST)
        return bool(((hope <= finished) & (finished > LEAST)).all())


class _Choice(Protocol):
    def choose(self, scores: Tensor, step: int, /) -> Tensor: ...


def _one_by_one(writer: Writer, choice: _Choice) -> Tensor:
    vocabulary = writer.vocabulary
    done = torch.zeros(len(writer), dtype=torch.bool, device=writer.device)
    while writer.length < writer.longest and not done.all():
        tokens = choice.choose(writer.next(), writer.length)
        writer.add(torch.where(done, vocabulary.pad, tokens))
        done |= tokens == vocabulary.end
    return writer.texts()


def _trimmed(texts: Tensor, end: int) -> Tensor:
    """Without the places in which every text is padded."""
    return texts[:, : int((texts == end).int().argmax(dim=1).max()) + 1]
