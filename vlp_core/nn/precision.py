"""In which numbers a model computes when it is asked, and not trained."""

from typing import Literal, cast

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """For bf16, products in bf16 inside it; for fp32, all as it is."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def in_fp32(head: nn.Module, states: Tensor) -> Tensor:
    """A head whose answers are ranked: of bf16's 256 steps between two powers of 2 too many would be equal."""
    with torch.autocast(states.device.type, enabled=False):
        return cast(Tensor, head(states.float()))
