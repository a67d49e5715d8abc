"""What a step of training is given."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B pictures with a caption each; one rank's share of a global batch.

    pixels    uint8 [B, 3, H, W]; the model's mean and std are applied on the device, where they cost nothing
    tokens    int64 [B, L]
    image_id  int64 [B], equal where the pictures' bytes are
    text_id   int64 [B], equal where the captions are
    key       int64 [B], of the sample in this epoch: whatever is random in a step is drawn from it
    uid       the samples' names, B of them
    epoch     how many epochs have been trained on before this batch
    """

    pixels: Tensor
    tokens: Tensor
    image_id: Tensor
    text_id: Tensor
    key: Tensor
    uid: list[str]
    epoch: float = 0.0

    def __len__(self) -> int:
        return len(self.uid)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on `device`; copies from pinned memory do not hold up the caller."""
        moved = {
            name: getattr(self, name).to(device, non_blocking=True)
            for name in ("pixels", "tokens", "image_id", "text_id", "key")
        }
        return replace(self, **moved)
