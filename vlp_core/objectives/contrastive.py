"""Pictures and their captions find one another among all others of the batch."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.gather import first_row, gather


class DualView(Protocol):
    """What the objective asks of a view."""

    def image_vectors(self) -> Tensor: ...

    def text_vectors(self) -> Tensor: ...

    def scale(self) -> Tensor: ...

    def bias(self) -> Tensor: ...


class Contrastive(nn.Module):
    """Symmetric InfoNCE of CLIP (Radford et al., 2021, arXiv:2103.00020, figure 3).

    Each rank scores its own rows against those of all ranks, so that memory grows with B·W and not with its square.
    The mean of the ranks' losses is the loss of the whole batch, and so are the gradients once they are averaged.
    """

    def forward(self, view: DualView) -> Tensor:
        image, text, scale = view.image_vectors(), view.text_vectors(), view.scale()
        # Similarities in fp32, whatever the towers ran in: at a scale of 100 bf16 has steps of half a logit.
        with torch.autocast(image.device.type, enabled=False):
            image, text, scale = image.float(), text.float(), scale.float()
            images, texts = gather(torch.cat([image, text], dim=1)).chunk(2, dim=1)
            labels = torch.arange(len(image), device=image.device) + first_row(len(image))
            to_text = F.cross_entropy(scale * image @ texts.T, labels)
            to_image = F.cross_entropy(scale * text @ images.T, labels)
        return (to_text + to_image) / 2
