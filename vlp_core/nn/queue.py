"""A queue of earlier batches' vectors, to be contrasted with (He et al., 2019, arXiv:1911.05722)."""

import torch
from torch import Tensor, nn

from vlp_core.errors import UserError


class Queue(nn.Module):
    """The newest `size` rows of vectors and their names; the same on every rank, for all push the same rows.

    images, texts   float32 [size, D], unit vectors
    image_id, text_id   int64 [size]: rows that show the same picture, or say the same, are no negatives
    """

    images: Tensor
    texts: Tensor
    image_id: Tensor
    text_id: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise UserError(f"queue {size}: give 1 or more rows of earlier batches")
        self.size = size
        for name in ("images", "texts"):
            self.register_buffer(name, torch.zeros(size, dim))
        for name in ("image_id", "text_id"):
            self.register_buffer(name, torch.zeros(size, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros(1, dtype=torch.int64))

    def filled(self) -> Tensor:
        """bool [size]: the places that hold a row."""
        return torch.arange(self.size, device=self.pushed.device) < self.pushed

    @torch.no_grad()
    def push(self, *, images: Tensor, texts: Tensor, image_id: Tensor, text_id: Tensor) -> None:
        """Put rows in the places of the oldest; of more rows than there are places, the last ones stay."""
        count = len(images)
        places = (self.pushed + torch.arange(count, device=self.pushed.device)) % self.size
        last = slice(max(0, count - self.size), None)
        for own, rows in (
            (self.images, images),
            (self.texts, texts),
            (self.image_id, image_id),
            (self.text_id, text_id),
        ):
            own[places[last]] = rows[last].to(own.dtype)
        self.pushed += count
