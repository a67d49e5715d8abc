"""Whether a picture and a text belong together."""

from torch import Tensor, nn


class MatchHead(nn.Linear):
    """Pooled pairs [M, dim] -> logits [M, 2]: 0 they do not match, 1 they do."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 2)
        nn.init.normal_(self.weight, std=0.02)  # at any width: what it says at first is next to nothing
        nn.init.zeros_(self.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        return super().forward(pooled)
