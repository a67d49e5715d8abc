"""The lower half of a decoder, which sees no picture (CoCa, Yu et al., 2022, arXiv:2205.01917, section 3.2)."""

import torch
from torch import Tensor, nn

from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.nn import masks
from vlp_core.nn.blocks import Cache, Trunk, first_std
from vlp_core.sequence import Sequence


class UnimodalDecoder(WordEncoder):
    """Words that see those before them, and after them a class token that sees all: its state is the whole text's.

    The words' states are what the upper half goes on with, so only the class token's is normalised at the end. The
    class token has one place, however long the text is.
    """

    def __init__(self, embed: WordEmbed, depth: int, heads: int, *, eps: float = 1e-5, dropout: float = 0.0) -> None:
        super().__init__(embed, Trunk(embed.dim, depth, heads, eps=eps, dropout=dropout, last_norm=False), causal=True)
        self.whole = nn.Parameter(torch.randn(1, 1, self.dim) * first_std(self.dim))
        self.norm = nn.LayerNorm(self.dim, eps=eps)

    def forward(self, tokens: Tensor, *, cache: Cache | None = None) -> Sequence:
        """Token ids int64 [B, L] -> states [B, L, dim]; a text that is being written, in a cache, has no whole."""
        if cache is not None:
            return super().forward(tokens, cache=cache)
        words = self.embed(tokens)
        states = torch.cat([words.states, self.whole.expand(len(tokens), -1, -1)], dim=1)
        there = torch.cat([words.mask, torch.ones_like(words.mask[:, :1])], dim=1)
        mask = masks.both(masks.causal(states.shape[1], tokens.device), masks.keys(there))
        states = self.trunk(states, mask=mask)
        return Sequence(states[:, :-1], words.mask, self.norm(states[:, -1]))
