"""ViLT (Kim et al., 2021, arXiv:2102.03334): patches and words in one stream, no encoder before it."""

from dataclasses import dataclass
from typing import Literal

from timm.layers import QuickGELU
from torch import nn

from vlp_core.encoders.patches import PatchEmbed
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.single_stream import SingleStream
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.words import WordHead
from vlp_core.model import HALF, OPENAI_MEAN, OPENAI_STD, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.alignment import WordPatchAlignment
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Matching, Shuffled
from vlp_core.objectives.weighted import Weighted
from vlp_core.recipes.recipe import WHOLE, Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class ViLT:
    """A ViT over linear patches and words (section 3)."""

    trunk: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the transformer."""
    patch: int = 32
    """Side of a patch in pixels."""
    image_size: int = 384
    """Side of the square that pictures are brought to, in pixels."""
    dropout: float = 0.0
    """In the embedding of words and the transformer."""
    clip: Literal["gelu", "quick_gelu"] | None = None
    """To start from a CLIP's tower, its activation: pixels and patches are normalised as there; none: as in a ViT."""

    @property
    def needs(self) -> Needs:
        return Needs(length=40, mean=OPENAI_MEAN if self.clip else HALF, std=OPENAI_STD if self.clip else HALF)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, depth, heads), negatives = self.trunk, Shuffled(0.5)
        words = WordEmbed(dim, vocabulary, dropout=self.dropout)
        model = VLModel(text=words, vocabulary=vocabulary, needs=self.needs,
            image=PatchEmbed(dim, self.patch, self.image_size, norm=self.clip is not None),
            fusion=SingleStream(Trunk(dim, depth, heads, eps=1e-5 if self.clip else 1e-12, dropout=self.dropout,
                                      activation=QuickGELU if self.clip == "quick_gelu" else nn.GELU)))  # fmt: skip
        itm = Matching(MatchHead(dim), negatives)
        mlm = MaskedLanguage(WordHead(dim, vocabulary, tied=words.word), Masking(0.15, whole_words=True))
        return System(model, {"itm": itm, "mlm": mlm, "wpa": Weighted(0.1, WordPatchAlignment(negatives))})


PAPER = Recipe(system=ViLT(dropout=0.1), data=WHOLE, starts=("image",), train=Train(
    steps=200_000, batch_size=4096, lr=1e-4, lr_decay="linear", warmup=20_000, weight_decay=0.01,
    eps=1e-8, clip_norm=None))  # fmt: skip
TINY = tiny(ViLT(trunk=(96, 2, 4), patch=16, image_size=64), steps=1800, data=WHOLE)
