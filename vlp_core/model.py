"""A vision-language model as ViLT's picture of the field has it (arXiv:2102.03334, section 2): a visual embedder, a
text embedder, and the interaction of the two; and a space in which they are compared, where they are."""

from collections.abc import Sequence as Several
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from vlp_core.errors import UserError
from vlp_core.heads.projection import Align
from vlp_core.needs import HALF, IMAGENET_MEAN, IMAGENET_STD, OPENAI_MEAN, OPENAI_STD, Needs
from vlp_core.nn.keyed import uniform
from vlp_core.nn.pixels import Normalise
from vlp_core.sequence import Fused, Sequence
from vlp_core.vocabulary import Vocabulary, WordTables

__all__ = ["HALF", "IMAGENET_MEAN", "IMAGENET_STD", "OPENAI_MEAN", "OPENAI_STD", "Needs", "VLModel", "random_places"]


class VLModel(nn.Module):
    """`image`, `text` and `fusion` are modules of vlp_core.encoders and vlp_core.fusion; `align` of vlp_core.heads.

    alone: the modalities ("image", "text") whose vectors come from going through the fusion by themselves.
    sampled: how many places of the picture's grid are looked at in training (Pixel-BERT, arXiv:2004.00849).
    marked: whether a text that is read together with a picture begins with a token of its own, `encode` (BLIP,
        arXiv:2201.12086, section 3.1). Otherwise one pass over a text serves for its vector and for the fusion.
    """

    def __init__(
        self,
        *,
        image: nn.Module,
        text: nn.Module,
        fusion: nn.Module,
        vocabulary: Vocabulary,
        needs: Needs,
        align: Align | None = None,
        alone: Several[str] = (),
        sampled: int | None = None,
        marked: bool = False,
    ) -> None:
        super().__init__()
        if sampled is not None and sampled < 1:
            raise UserError(f"sampled {sampled}: give 1 or more places of the picture to look at")
        self.image, self.text, self.fusion, self.align = image, text, fusion, align
        self.vocabulary = vocabulary if marked else replace(vocabulary, encode=None)
        self.tables = WordTables(vocabulary)
        self.alone, self.sampled = frozenset(alone), sampled
        self.normalise = Normalise(needs.mean, needs.std)

    @property
    def places(self) -> int:
        """How many of a picture's states are of a place in it."""
        return cast(int, self.image.count)

    def see(self, pixels: Tensor, keep: Tensor | None = None) -> Sequence:
        """Normalised float pixels [B, 3, H, W] -> states; `keep` int64 [B, K]: only these places of the picture."""
        return cast(Sequence, self.image(pixels) if keep is None else self.image(pixels, keep))

    def read(self, tokens: Tensor, first: int | None = None) -> Sequence:
        """Token ids int64 [B, L] -> states; `first`: the token that takes the place of their start."""
        if first is not None:
            tokens = torch.cat([torch.full_like(tokens[:, :1], first), tokens[:, 1:]], dim=1)
        return cast(Sequence, self.text(tokens))

    def image_vector(self, seen: Sequence) -> Tensor:
        """States of pictures -> unit vectors [B, D]."""
        assert self.align is not None
        if "image" in self.alone:
            return cast(Tensor, self.align.image(seen.summary(_states(self.fusion(seen, None).image))))
        return cast(Tensor, self.align.image(seen.first))

    def text_vector(self, read: Sequence) -> Tensor:
        """States of texts -> unit vectors [B, D]."""
        assert self.align is not None
        if "text" in self.alone:
            return cast(Tensor, self.align.text(_states(self.fusion(None, read).text)[:, 0]))
        return cast(Tensor, self.align.text(read.first))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised float pixels [B, 3, H, W] -> unit vectors [B, D]."""
        return self.image_vector(self.see(pixels))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids int64 [B, L] -> unit vectors [B, D]."""
        return self.text_vector(self.text(tokens))

    def scale(self) -> Tensor:
        """The factor before the softmax of similarities [1]."""
        assert self.align is not None
        return cast(Tensor, self.align.scale())

    def fuse(self, seen: Sequence | None, read: Sequence | None, attention: str = "full") -> Fused:
        return cast(Fused, self.fusion(seen, read, attention))


def random_places(keys: Tensor, purpose: str, places: int, keep: int) -> tuple[Tensor, Tensor]:
    """A random `keep` of `places` for each key: those that stay int64 [B, keep] and those that go, each in order."""
    order = uniform(keys, purpose, places).argsort(dim=1)
    return order[:, :keep].sort(dim=1).values, order[:, keep:].sort(dim=1).values


def _states(states: Tensor | None) -> Tensor:
    assert states is not None
    return states
