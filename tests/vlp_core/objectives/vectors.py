"""A view of given vectors instead of a model's, for objectives that ask for no more."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vlp_core.batch import Batch
from vlp_core.identity import key_of
from vlp_core.nn.gather import gather


@dataclass
class Vectors:
    batch: Batch
    images: Tensor
    texts: Tensor
    log_scale: Tensor
    training: bool = True
    twin: "Vectors | None" = None

    def image_vectors(self) -> Tensor:
        return F.normalize(self.images, dim=1)

    def text_vectors(self) -> Tensor:
        return F.normalize(self.texts, dim=1)

    def scale(self) -> Tensor:
        return self.log_scale.exp()

    def global_ids(self) -> tuple[Tensor, Tensor]:
        return gather(self.batch.image_id), gather(self.batch.text_id)


def vectors(rows: int, *, dim: int = 5, seed: int = 0, log_scale: float = 2.0, share: slice = slice(None)) -> Vectors:
    """Random vectors of a model and of its twin, with pictures and texts that are all different."""
    draw = torch.Generator().manual_seed(seed)
    images, texts, others, more = (torch.randn(rows, dim, generator=draw) for _ in range(4))
    batch = Batch(
        pixels=torch.zeros(rows, 3, 1, 1, dtype=torch.uint8),
        tokens=torch.zeros(rows, 2, dtype=torch.int64),
        image_id=torch.arange(rows),
        text_id=torch.arange(rows),
        key=torch.tensor([key_of(seed, row) - 2**63 for row in range(rows)]),
        uid=[str(row) for row in range(rows)],
        epoch=0.5,
    )
    fields = {name: getattr(batch, name)[share] for name in ("pixels", "tokens", "image_id", "text_id", "key", "uid")}
    part, scale = replace(batch, **fields), torch.tensor([log_scale])
    twin = Vectors(part, others[share], more[share], scale)
    leaves = (leaf.clone().requires_grad_() for leaf in (images[share], texts[share], scale))
    return Vectors(part, *leaves, twin=twin)
