"""Pictures and their captions find one another among all others of the batch."""

from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class DualView(Protocol):
    """What the objective asks of a view."""

    def image(self) -> Tensor: ...

    def text(self) -> Tensor: ...

    def scale(self) -> Tensor: ...


class _Gather(torch.autograd.Function):
    """Rows of all ranks in rank order; the gradient of a row is the sum of what every rank has for it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.narrow(0, dist.get_rank() * ctx.rows, ctx.rows)


def gather(rows: Tensor) -> Tensor:
    """[B, D] on each of W ranks (the same B on all) -> [W·B, D] on all of them; itself where there is one rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    return cast(Tensor, _Gather.apply(rows))


class Contrastive(nn.Module):
    """Symmetric InfoNCE of CLIP (Radford et al., 2021, arXiv:2103.00020, figure 3).

    Each rank scores its own rows against those of all ranks, so that memory grows with B·W and not with its square.
    The mean of the ranks' losses is the loss of the whole batch, and so are the gradients once they are averaged.
    """

    def forward(self, view: DualView) -> Tensor:
        image, text, scale = view.image(), view.text(), view.scale()
        # Similarities in fp32, whatever the towers ran in: at a scale of 100 bf16 has steps of half a logit.
        with torch.autocast(image.device.type, enabled=False):
            image, text, scale = image.float(), text.float(), scale.float()
            images, texts = gather(torch.cat([image, text], dim=1)).chunk(2, dim=1)
            first = dist.get_rank() * len(image) if len(images) > len(image) else 0
            labels = torch.arange(first, first + len(image), device=image.device)
            to_text = F.cross_entropy(scale * image @ texts.T, labels)
            to_image = F.cross_entropy(scale * text @ images.T, labels)
        return (to_text + to_image) / 2
