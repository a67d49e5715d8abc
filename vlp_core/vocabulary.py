"""What a model has to know of its tokenizer: how many tokens there are, and what some of them are for."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Ids of tokens. A text is start, its words, end, and then padding up to the longest of its batch.

    `mask`, `decode` and `encode` are None in tokenizers that have none; `decode` starts a text that is written and
    `encode` one that is read together with a picture (BLIP), where others have `start` for all.
    """

    size: int
    pad: int
    start: int
    end: int
    unknown: int | None = None
    mask: int | None = None
    decode: int | None = None
    encode: int | None = None
    length: int
    """The longest text in tokens."""
    special: frozenset[int] = field(default=frozenset(), repr=False)
    """Tokens that stand for no part of a word."""
    continuing: frozenset[int] = field(default=frozenset(), repr=False)
    """Tokens that continue the word of the token before."""


def there(tokens: Tensor, end: int) -> Tensor:
    """bool [B, L]: a text's tokens up to its end, and not what pads it: some tokenizers pad with what is a word too."""
    ends = tokens == end
    return ends.cumsum(dim=1) - ends.long() == 0


class WordTables(nn.Module):
    """What a vocabulary says of each token, beside the model.

    special, continuing   bool [V]
    words                 int64: the tokens that are not special, to draw from
    """

    special: Tensor
    continuing: Tensor
    words: Tensor

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        special, continuing = (torch.zeros(vocabulary.size, dtype=torch.bool) for _ in range(2))
        special[sorted(vocabulary.special)] = True
        continuing[sorted(vocabulary.continuing)] = True
        self.register_buffer("special", special, persistent=False)
        self.register_buffer("continuing", continuing, persistent=False)
        words = [token for token in range(vocabulary.size) if token not in vocabulary.special]
        self.register_buffer("words", torch.tensor(words), persistent=False)
