"""ALBEF (Li et al., 2021, arXiv:2107.07651): aligned before fused, with a twin that answers beside the labels."""

from dataclasses import dataclass
from typing import ClassVar

from vlp_core.data.settings import Data
from vlp_core.encoders.pictures import named_or_vit
from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.projection import Align, Scale
from vlp_core.heads.words import WordHead
from vlp_core.model import OPENAI_MEAN, OPENAI_STD, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Hard, Matching
from vlp_core.objectives.momentum_contrastive import MomentumContrastive
from vlp_core.recipes.recipe import Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class ALBEF:
    """A ViT, a BERT, and as many blocks that see the picture too (section 3.1); the paper has RandAugment as well."""

    image: str | None = None
    """One of timm's models by name; none: a ViT of the sizes below."""
    picture: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the ViT."""
    text: tuple[int, int, int, int] = (768, 6, 6, 12)
    """Width, blocks of the text encoder and of the fusion, and attention heads."""
    patch: int = 16
    """Side of a patch in pixels."""
    image_size: int = 256
    """Side of the square that pictures are brought to, in pixels."""
    dropout: float = 0.0
    """In the text encoder and the fusion."""
    queue: int = 65_536
    """Rows of earlier batches that are contrasted with."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=25, mean=OPENAI_MEAN, std=OPENAI_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, reads, fuses, heads), seen = self.text, self.picture[0]
        words, drop = WordEmbed(dim, vocabulary, dropout=self.dropout), self.dropout
        model = VLModel(
            image=named_or_vit(self.image, self.picture, patch=self.patch, image_size=self.image_size),
            text=WordEncoder(words, Trunk(dim, reads, heads, norm="post", eps=1e-12, dropout=drop)), needs=self.needs,
            fusion=CrossAttention(Trunk(dim, fuses, heads, norm="post", eps=1e-12, context_dim=seen, dropout=drop)),
            align=Align(seen, dim, 256, scale=Scale(floor=2, ceiling=1000)), vocabulary=vocabulary)  # fmt: skip
        itc, itm = MomentumContrastive(queue=self.queue, dim=256, alpha=0.4), Matching(MatchHead(dim), Hard())
        mlm = MaskedLanguage(WordHead(dim, vocabulary, tied=words.word), Masking(0.15), distilled=0.4)
        return System(model, {"itc": itc, "itm": itm, "mlm": mlm}, decay=0.995)


PAPER = Recipe(system=ALBEF(dropout=0.1), data=Data(crop_scale=(0.2, 1.0), flip=0.5),
    starts=("image", "text"), train=Train(lr=1e-4, lr_end=1e-5,
    steps=234_000, batch_size=512, warmup=1000, weight_decay=0.02, beta2=0.999, eps=1e-8, clip_norm=None))  # fmt: skip
TINY = tiny(ALBEF(picture=(64, 3, 4), text=(64, 2, 1, 4), image_size=64, queue=512), steps=1000, lr=3e-3)
