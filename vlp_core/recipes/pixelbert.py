"""Pixel-BERT (Huang et al., 2020, arXiv:2004.00849): the grid of a CNN and words in one BERT, trained end to end."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from vlp_core.encoders.pictures import by_name, resnet
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.single_stream import SingleStream
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.words import WordHead
from vlp_core.model import IMAGENET_MEAN, IMAGENET_STD, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Matching, Shuffled
from vlp_core.recipes.recipe import WHOLE, Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class PixelBERT:
    """A CNN, a random sample of its grid in training, and BERT (section 3)."""

    image: str | None = "resnet50"
    """One of timm's CNNs by name, whose grid is halved; none: a small one."""
    trunk: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the transformer."""
    image_size: int = 800
    """Side of the square that pictures are brought to, in pixels."""
    sampled: int = 100
    """Places of the grid that are looked at in training (section 3.3)."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=40, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, depth, heads), size = self.trunk, self.image_size
        words = WordEmbed(dim, vocabulary)
        model = VLModel(
            image=by_name(self.image, image_size=size, dim=dim, pool=nn.MaxPool2d(2))
            if self.image
            else resnet(image_size=size, width=8, dim=dim),
            text=words,
            fusion=SingleStream(Trunk(dim, depth, heads, norm="post", eps=1e-12)),
            sampled=self.sampled,
            vocabulary=vocabulary,
            needs=self.needs,
        )
        return System(model, {
            "itm": Matching(MatchHead(dim), Shuffled(0.5)),
            "mlm": MaskedLanguage(WordHead(dim, vocabulary, tied=words.word), Masking(0.15)),
        })  # fmt: skip


# 40 epochs. The paper has SGD for the CNN, at 1e-2 and with a weight decay of its own, and divides both rates by 10
# after the 25th and the 35th epoch.
PAPER = Recipe(system=PixelBERT(), data=WHOLE, starts=("image",), train=Train(
    steps=55_000, batch_size=4096, lr=1e-4, weight_decay=0.01))  # fmt: skip
TINY = tiny(PixelBERT(image=None, trunk=(96, 2, 4), image_size=64, sampled=16), steps=1500, data=WHOLE)
