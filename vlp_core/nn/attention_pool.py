"""Attentional pooling: learnt queries look at a sequence, however long it is (Lee et al., 2018, arXiv:1810.00825)."""

import torch
from torch import Tensor, nn

from vlp_core.nn.attention import Attention
from vlp_core.nn.blocks import initialise


class AttentionPool(nn.Module):
    """States [B, N, width] -> [B, queries, dim], by one attention; what asks and what is asked are normalised."""

    def __init__(self, width: int, dim: int, *, queries: int, heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim = dim
        self.query_norm, self.context_norm = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attention = Attention(dim, heads, context_dim=width)
        initialise(self, dim)
        self.query = nn.Parameter(torch.randn(queries, dim))

    def forward(self, states: Tensor) -> Tensor:
        query = self.query_norm(self.query).expand(len(states), -1, -1)
        pooled: Tensor = self.attention(query, self.context_norm(states))
        return pooled
