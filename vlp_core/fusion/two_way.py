"""Two decoders, one for either direction in which a text can be written (VirTex, arXiv:2006.06666, section 3)."""

from torch import nn

from vlp_core.fusion.attentions import check_attention
from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.nn.blocks import Cache, initialise
from vlp_core.sequence import Fused, Sequence


class TwoWay(nn.Module):
    """attention: "causal" for texts from their start on, "backward" for texts whose words are turned round.

    The decoders share all but themselves: the linear map of the picture's places, and, for these are no part of them,
    what makes words of tokens and tokens of words.
    """

    def __init__(self, ahead: CrossAttention, back: CrossAttention, *, image_dim: int) -> None:
        super().__init__()
        self.ahead, self.back, self.dim = ahead, back, ahead.dim
        self.projection = nn.Linear(image_dim, self.dim)
        initialise(self.projection, self.dim)

    def forward(
        self, image: Sequence, text: Sequence, attention: str = "causal", *, cache: Cache | None = None
    ) -> Fused:
        """As `CrossAttention` has it, by the decoder of that direction."""
        check_attention(self, attention)
        decoder = self.back if attention == "backward" else self.ahead
        places = image._replace(states=self.projection(image.states))
        fused: Fused = decoder(places, text, "causal", cache=cache)
        return fused
