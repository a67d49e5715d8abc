"""The one attention of the library: torch's scaled_dot_product_attention with the masks of `nn.masks`."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.errors import UserError
from vlp_core.nn.masks import Mask


@dataclass
class KeyValues:
    """Keys and values of one attention that are kept while a text is written, each [B, heads, N, dim / heads]."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values up to and with these."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def rows(self, index: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[index], self.values[index]


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017, arXiv:1706.03762): of x to itself, or to a context."""

    def __init__(
        self, dim: int, heads: int, *, context_dim: int | None = None, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim, bias=bias)
        self.key = nn.Linear(context_dim or dim, dim, bias=bias)
        self.value = nn.Linear(context_dim or dim, dim, bias=bias)
        self.output = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, mask: Mask = None, kept: KeyValues | None = None
    ) -> Tensor:
        """x [B, L, dim] and the context [B, N, context_dim] (x itself without one) -> [B, L, dim].

        `mask` as in `nn.masks`. `kept` holds earlier keys and values: without a context those of this call are added to
        them, with one they are made once.
        """
        query = self._split(self.query(x))
        if context is not None and kept is not None and kept.keys is not None and kept.values is not None:
            key, value = kept.keys, kept.values
        else:
            source = x if context is None else context
            key, value = self._split(self.key(source)), self._split(self.value(source))
            if kept is not None:
                key, value = kept.append(key, value)
        dropout = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.output(seen.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B, L, dim] -> [B, heads, L, dim / heads]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def check_heads(dim: int, heads: int) -> None:
    """UserError where the width cannot be divided among the heads."""
    if heads < 1 or dim % heads:
        raise UserError(f"width {dim} and {heads} attention heads: give a width that is a multiple of the heads")
