"""Texts as words: embedded by word and place, and a transformer over them."""

import torch
from torch import Tensor, nn

from vlp_core.nn import masks
from vlp_core.nn.blocks import Cache, Trunk, initialise
from vlp_core.sequence import Sequence
from vlp_core.vocabulary import Vocabulary, there


class WordEmbed(nn.Module):
    """Token ids int64 [B, L] -> states [B, L, dim]: word and place, normalised as BERT does, or plain as GPT does."""

    def __init__(
        self, dim: int, vocabulary: Vocabulary, *, normalise: bool = True, eps: float = 1e-12, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dim, self.end = dim, vocabulary.end
        self.word = nn.Embedding(vocabulary.size, dim)
        self.position = nn.Embedding(vocabulary.length, dim)
        self.norm: nn.Module = nn.LayerNorm(dim, eps=eps) if normalise else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        initialise(self, dim)

    def forward(self, tokens: Tensor, *, past: int = 0) -> Sequence:
        """`past`: how many tokens stand before these."""
        places = torch.arange(past, past + tokens.shape[1], device=tokens.device)
        states = self.norm(self.word(tokens) + self.position(places))
        return Sequence(self.dropout(states), there(tokens, self.end))


class WordEncoder(nn.Module):
    """Words and a transformer that sees nothing but them."""

    def __init__(self, embed: WordEmbed, trunk: Trunk, *, causal: bool = False) -> None:
        super().__init__()
        self.embed, self.trunk, self.causal = embed, trunk, causal
        self.dim = trunk.dim

    def forward(self, tokens: Tensor, *, cache: Cache | None = None) -> Sequence:
        """Token ids int64 [B, L] -> states [B, L, dim]."""
        past = cache.length if cache else 0
        words = self.embed(tokens, past=past)
        # Padding stands at the end, where no word of a causal text sees it.
        causal = masks.causal(tokens.shape[1], tokens.device, past=past) if self.causal else None
        mask = causal if causal is not None else masks.keys(words.mask)
        return Sequence(self.trunk(words.states, mask=mask, cache=cache), words.mask)
