"""A weight before an objective."""

from typing import Any

from torch import Tensor, nn


class Weighted(nn.Module):
    """`objective`, which counts `weight` times in the sum; it is reported as it is."""

    def __init__(self, weight: float, objective: nn.Module) -> None:
        super().__init__()
        self.weight, self.objective = weight, objective

    def forward(self, view: Any) -> Tensor:
        loss: Tensor = self.objective(view)
        return loss
