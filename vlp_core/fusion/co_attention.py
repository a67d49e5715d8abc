"""Co-attention: two streams, each attending to the other (ViLBERT, arXiv:1908.02265; METER, arXiv:2111.02387)."""

import torch
from torch import nn

from vlp_core.fusion.attentions import check_attention
from vlp_core.heads.pooling import FirstState
from vlp_core.nn import masks
from vlp_core.nn.blocks import Block, initialise
from vlp_core.sequence import Fused, Sequence


class CoAttention(nn.Module):
    """`depth` pairs of blocks; both of a pair look at the other stream as it was before them."""

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        image_dim: int,
        text_dim: int,
        eps: float = 1e-12,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = 2 * dim
        self.image_projection, self.text_projection = nn.Linear(image_dim, dim), nn.Linear(text_dim, dim)
        self.modality = nn.Embedding(2, dim)
        self.image, self.text = (
            nn.ModuleList(
                Block(dim, heads, norm="post", context_dim=dim, eps=eps, dropout=dropout) for _ in range(depth)
            )
            for _ in range(2)
        )
        self.image_pool, self.text_pool = FirstState(dim), FirstState(dim)
        initialise(self, dim)

    def forward(self, image: Sequence, text: Sequence, attention: str = "full") -> Fused:
        """Pooled is what both streams say of the whole, beside one another, [M, 2 · dim]."""
        check_attention(self, attention)
        seen = self.image_projection(image.states) + self.modality.weight[0]
        read = self.text_projection(text.states) + self.modality.weight[1]
        image_mask, text_mask = masks.keys(image.mask), masks.keys(text.mask)
        for see, say in zip(self.image, self.text, strict=True):
            seen, read = (
                see(seen, mask=image_mask, context=read, context_mask=text_mask),
                say(read, mask=text_mask, context=seen, context_mask=image_mask),
            )
        pooled = torch.cat([self.text_pool(text.summary(read)), self.image_pool(image.summary(seen))], dim=-1)
        return Fused(image=seen, text=read, pooled=pooled, image_mask=image.mask, text_mask=text.mask)
