"""A causal decoder that looks at the text and at the picture by turns (CoCa, arXiv:2205.01917, section 3.2)."""

from torch import Tensor, nn

from vlp_core.fusion.attentions import check_attention
from vlp_core.nn import masks
from vlp_core.nn.attention import Attention, KeyValues
from vlp_core.nn.blocks import Block, Cache, FeedForward, initialise
from vlp_core.nn.masks import Mask
from vlp_core.sequence import Fused, Sequence


class ContextBlock(nn.Module):
    """Attention to a context and a feed-forward, each added to what comes in; all that goes in is normalised."""

    def __init__(self, dim: int, heads: int, *, context_dim: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.cross = Attention(dim, heads, context_dim=context_dim, dropout=dropout)
        self.cross_norm, self.context_norm = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(context_dim, eps=eps)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(dim, 4 * dim, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: Tensor, context: Tensor, *, mask: Mask = None, kept: KeyValues | None = None) -> Tensor:
        """x [B, L, dim], context [B, N, context_dim] -> [B, L, dim]."""
        seen = self.cross(self.cross_norm(x), self.context_norm(context), mask=mask, kept=kept)
        x = x + self.dropout(seen)
        return x + self.feed_forward(self.feed_forward_norm(x))


class CrossDecoder(nn.Module):
    """`depth` pairs of blocks: one in which words see those before them, and one in which they see the picture.

    Either has a feed-forward of its own, as in open_clip; `CrossAttention` has one for both.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        context_dim: int | None = None,
        eps: float = 1e-5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.words = nn.ModuleList(Block(dim, heads, eps=eps, dropout=dropout) for _ in range(depth))
        self.pictures = nn.ModuleList(
            ContextBlock(dim, heads, context_dim=context_dim or dim, eps=eps, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=eps)
        initialise(self, dim)

    def forward(
        self, image: Sequence, text: Sequence, attention: str = "causal", *, cache: Cache | None = None
    ) -> Fused:
        """A decoder writes: it has the one kind of attention, and no state of the pair as a whole."""
        check_attention(self, attention)
        states, past = text.states, cache.length if cache is not None else 0
        mask = masks.causal(states.shape[1], states.device, past=past)
        for i, (read, look) in enumerate(zip(self.words, self.pictures, strict=True)):
            kept = cache.block(i) if cache is not None else None
            states = read(states, mask=mask, kept=kept)
            states = look(states, image.states, mask=masks.keys(image.mask), kept=kept[1] if kept else None)
        if cache is not None:
            cache.length += states.shape[1]
        return Fused(text=self.norm(states), text_mask=text.mask)
