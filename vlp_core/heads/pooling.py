"""One state out of many."""

import torch
from torch import Tensor, nn

from vlp_core.nn.blocks import initialise


class FirstState(nn.Module):
    """BERT's pooler: a dense layer and tanh over the first state, [B, dim] -> [B, dim]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        initialise(self, dim)

    def forward(self, first: Tensor) -> Tensor:
        return torch.tanh(self.dense(first))
