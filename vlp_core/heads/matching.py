"""Whether a picture and a text belong together."""

from torch import Tensor, nn

from vlp_core.nn.blocks import initialise


class MatchHead(nn.Linear):
    """Pooled pairs [M, dim] -> logits [M, 2]: 0 they do not match, 1 they do."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 2)
        initialise(self, dim)

    def forward(self, pooled: Tensor) -> Tensor:
        return super().forward(pooled)
