"""One stream: pictures and words under one transformer (ViLT, arXiv:2102.03334; UFO, arXiv:2111.10023)."""

import torch
from torch import nn

from vlp_core.fusion.attentions import check_attention
from vlp_core.heads.pooling import FirstState
from vlp_core.nn import masks
from vlp_core.nn.blocks import Trunk, initialise
from vlp_core.sequence import Fused, Sequence

IMAGE, TEXT = 0, 1


class SingleStream(nn.Module):
    """States get the type of their modality and go through the trunk as [image; text], or one of them alone.

    attention: "full", or "prefix": pictures see pictures, words see pictures and the words before them.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk, self.dim = trunk, trunk.dim
        self.modality = nn.Embedding(2, trunk.dim)
        self.pool = FirstState(trunk.dim)
        initialise(self.modality, self.dim)

    def forward(self, image: Sequence | None, text: Sequence | None, attention: str = "full") -> Fused:
        """Pooled is of the text's first state, or of the picture as a whole where there is no text."""
        check_attention(self, attention)
        parts = [(part, kind) for part, kind in ((image, IMAGE), (text, TEXT)) if part is not None]
        states = torch.cat([part.states + self.modality.weight[kind] for part, kind in parts], dim=1)
        there = torch.cat([_there(part) for part, _ in parts], dim=1)
        seen = 0 if image is None else image.states.shape[1]
        mask = masks.keys(there)
        if attention == "prefix":
            mask = masks.both(mask, masks.prefix(seen, states.shape[1] - seen, states.device))
        states = self.trunk(states, mask=mask)
        whole = states[:, seen] if image is None or text is not None else image.summary(states)
        return Fused(
            image=None if image is None else states[:, :seen],
            text=None if text is None else states[:, seen:],
            pooled=self.pool(whole),
            image_mask=None if image is None else image.mask,
            text_mask=None if text is None else text.mask,
        )


def _there(part: Sequence) -> torch.Tensor:
    if part.mask is not None:
        return part.mask
    return torch.ones(part.states.shape[:2], dtype=torch.bool, device=part.states.device)
