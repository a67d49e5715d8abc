"""METER (Dou et al., 2022, arXiv:2111.02387): CLIP's ViT and BERT, joined by co-attention."""

from dataclasses import dataclass
from typing import ClassVar

from vlp_core.encoders.pictures import by_name, vit
from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.fusion.co_attention import CoAttention
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.words import WordHead
from vlp_core.model import OPENAI_MEAN, OPENAI_STD, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Matching, Shuffled
from vlp_core.recipes.recipe import WHOLE, Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class METER:
    """Two encoders that were trained before, and co-attention that was not (section 3)."""

    image: str | None = "vit_base_patch16_clip_224"
    """One of timm's models by name; none: a ViT of the text encoder's sizes, with patches of 16 pixels."""
    text: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the text encoder; width and heads are those of the co-attention too."""
    cross: int = 6
    """Blocks of co-attention for each modality."""
    image_size: int = 224
    """Side of the square that pictures are brought to, in pixels."""
    dropout: float = 0.0
    """In the text encoder and the fusion."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=50, mean=OPENAI_MEAN, std=OPENAI_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, depth, heads), size, drop = self.text, self.image_size, self.dropout
        image = (
            by_name(self.image, image_size=size)
            if self.image
            else vit(image_size=size, patch=16, dim=dim, depth=depth, heads=heads)
        )
        words = WordEmbed(dim, vocabulary, dropout=drop)
        text = WordEncoder(words, Trunk(dim, depth, heads, norm="post", eps=1e-12, dropout=drop))
        fusion = CoAttention(dim, self.cross, heads, image_dim=image.dim, text_dim=dim, dropout=drop)
        model = VLModel(image=image, text=text, fusion=fusion, vocabulary=vocabulary, needs=self.needs)
        return System(model, {
            "itm": Matching(MatchHead(fusion.dim), Shuffled(0.5)),
            "mlm": MaskedLanguage(WordHead(dim, vocabulary), Masking(0.15, whole_words=True)),
        })  # fmt: skip


SCALE = ("model.fusion=5", "objectives=5")
PAPER = Recipe(system=METER(dropout=0.1), data=WHOLE, starts=("image", "text"), train=Train(
    steps=100_000, batch_size=4096, lr=1e-5, lr_scale=SCALE, lr_decay="linear", warmup=10_000, weight_decay=0.01,
    eps=1e-8, clip_norm=None))  # fmt: skip
TINY = tiny(METER(image=None, text=(96, 1, 4), cross=2, image_size=64), steps=1500, data=WHOLE)
