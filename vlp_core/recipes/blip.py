"""BLIP (Li et al., 2022, arXiv:2201.12086): one text transformer that encodes, matches and writes (section 3)."""

from dataclasses import dataclass
from typing import ClassVar

from vlp_core.data.settings import Data
from vlp_core.encoders.pictures import named_or_vit
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.cross_attention import DECODE, CrossAttention
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.projection import Align, Scale
from vlp_core.heads.words import WordHead
from vlp_core.model import OPENAI_MEAN, OPENAI_STD, VLModel
from vlp_core.nn.blocks import FULL, Trunk
from vlp_core.objectives.captioning import Captioning
from vlp_core.objectives.matching import Hard, Matching
from vlp_core.objectives.momentum_contrastive import MomentumContrastive
from vlp_core.recipes.recipe import CapFilt, Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class BLIP:
    """A ViT, and a BERT whose self-attention alone is not shared by its encoder and its decoder."""

    image: str | None = None
    """One of timm's models by name; none: a ViT of the sizes below."""
    picture: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the ViT."""
    text: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the text transformer."""
    patch: int = 16
    """Side of a patch in pixels."""
    image_size: int = 224
    """Side of the square that pictures are brought to, in pixels."""
    dropout: float = 0.0
    """In the text transformer."""
    queue: int = 57_600
    """Rows of earlier batches that are contrasted with."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=30, mean=OPENAI_MEAN, std=OPENAI_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, depth, heads), seen, drop = self.text, self.picture[0], self.dropout
        words = WordEmbed(dim, vocabulary, dropout=drop)
        trunk = Trunk(dim, depth, heads, norm="post", context_dim=seen, eps=1e-12, roles=(FULL, DECODE), dropout=drop)
        model = VLModel(text=words, vocabulary=vocabulary, needs=self.needs, alone=("text",), marked=True,
            fusion=CrossAttention(trunk, roles=True), align=Align(seen, dim, 256, scale=Scale(floor=2, ceiling=1000)),
            image=named_or_vit(self.image, self.picture, patch=self.patch, image_size=self.image_size))  # fmt: skip
        itc, itm = MomentumContrastive(queue=self.queue, dim=256, alpha=0.4, ramp=2.0), Matching(MatchHead(dim), Hard())
        lm = Captioning(WordHead(dim, vocabulary, tied=words.word), smoothing=0.1)
        return System(model, {"itc": itc, "itm": itm, "lm": lm}, decay=0.995)


PAPER = Recipe(system=BLIP(dropout=0.1), capfilt=CapFilt(steps=97_000), data=Data(crop_scale=(0.2, 1.0), flip=0.5),
    starts=("image", "text"), train=Train(steps=97_000, batch_size=2880, lr=3e-4, warmup=3000, weight_decay=0.05,
    beta2=0.999, eps=1e-8, clip_norm=None))  # 20 epochs of 14 M, the rate .85 of itself each; RandAugment  # fmt: skip
TINY = tiny(BLIP(picture=(64, 3, 4), text=(64, 2, 4), image_size=64, queue=512), steps=600, lr=3e-3,
            capfilt=CapFilt(steps=300, threshold=0.25))  # fmt: skip
