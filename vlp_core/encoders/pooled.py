"""Pictures as the answers to learnt queries (CoCa, Yu et al., 2022, arXiv:2205.01917, section 3.2)."""

from torch import Tensor, nn

from vlp_core.encoders.pictures import PictureEncoder
from vlp_core.errors import UserError
from vlp_core.nn.attention_pool import AttentionPool
from vlp_core.sequence import Sequence


class PooledEncoder(nn.Module):
    """An encoder of pictures and a pool over its states: the first answer is the state of the whole, to be compared
    with texts, and the others are what a text is told of. One pool gives both, as in open_clip."""

    def __init__(self, encoder: PictureEncoder, dim: int, *, queries: int, heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        if queries < 2:
            raise UserError(f"a pool of {queries}: give 2 or more queries, for the first is of the whole picture")
        self.encoder, self.dim = encoder, dim
        self.pool = AttentionPool(encoder.dim, dim, queries=queries, heads=heads, eps=eps)
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, pixels: Tensor) -> Sequence:
        """float pixels [B, 3, H, W] -> states [B, queries − 1, dim] and the whole's [B, dim]."""
        answers = self.norm(self.pool(self.encoder(pixels).states))
        return Sequence(answers[:, 1:], whole=answers[:, 0], before=0)
