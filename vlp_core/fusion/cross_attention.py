"""Cross-attention: words attend to the picture in every block (ALBEF, arXiv:2107.07651; BLIP, arXiv:2201.12086)."""

from torch import nn

from vlp_core.fusion.attentions import check_attention
from vlp_core.nn import masks
from vlp_core.nn.blocks import FULL, Cache, Trunk
from vlp_core.sequence import Fused, Sequence

DECODE = "decode"


class CrossAttention(nn.Module):
    """A trunk over the text with the picture as its context.

    attention: "full", or "causal" for a text that is written: then the blocks use their role "decode" if they have one.
    Without a picture the text goes through alone.
    """

    def __init__(self, trunk: Trunk, *, roles: bool = False) -> None:
        super().__init__()
        self.trunk, self.dim, self.roles = trunk, trunk.dim, roles

    def forward(
        self, image: Sequence | None, text: Sequence, attention: str = "full", *, cache: Cache | None = None
    ) -> Fused:
        """Pooled is the text's first state."""
        check_attention(self, attention)
        causal = attention == "causal"
        mask: masks.Mask
        if causal:  # padding stands at the end, where no word sees it
            past = cache.length if cache else 0
            mask = masks.causal(text.states.shape[1], text.states.device, past=past)
        else:
            mask = masks.keys(text.mask)
        states = self.trunk(
            text.states,
            mask=mask,
            context=None if image is None else image.states,
            context_mask=None if image is None else masks.keys(image.mask),
            role=DECODE if causal and self.roles else FULL,
            cache=cache,
        )
        return Fused(text=states, pooled=states[:, 0], text_mask=text.mask)
