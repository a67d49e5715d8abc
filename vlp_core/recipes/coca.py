"""CoCa (Yu et al., 2022, arXiv:2205.01917): contrast and captions out of one pass, put together as in open_clip."""

from dataclasses import dataclass, replace
from typing import Literal

from vlp_core.encoders.pictures import vit
from vlp_core.encoders.pooled import PooledEncoder
from vlp_core.encoders.unimodal import UnimodalDecoder
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.cross_decoder import CrossDecoder
from vlp_core.heads.projection import Align
from vlp_core.heads.words import WordScores
from vlp_core.model import OPENAI_MEAN, OPENAI_STD, VLModel
from vlp_core.objectives.captioning import Captioning
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.weighted import Weighted
from vlp_core.recipes.recipe import Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class CoCa:
    """CoCa-Base (table 1), which the paper trains by Adafactor."""

    picture: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the image encoder."""
    text: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the decoder's lower half, and of its upper half."""
    pool: tuple[int, int] = (256, 8)
    """Queries and attention heads of the pool over the picture."""
    patch: int = 18
    """Side of a patch in pixels."""
    image_size: int = 288
    """Side of the square that pictures are brought to, in pixels."""
    tokenizer: Literal["bpe", "wordpiece"] = "bpe"
    """open_clip's byte pairs, or word pieces of the corpus itself."""

    @property
    def needs(self) -> Needs:
        return Needs(tokenizer=self.tokenizer, length=76, mean=OPENAI_MEAN, std=OPENAI_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (seen, layers, looks), (dim, depth, heads), (queries, asks) = self.picture, self.text, self.pool
        body = vit(image_size=self.image_size, patch=self.patch, dim=seen, depth=layers, heads=looks,
                   eps=1e-5, pre_norm=True, final_norm=False)  # fmt: skip
        model = VLModel(
            image=PooledEncoder(body, dim, queries=queries, heads=asks),
            text=UnimodalDecoder(WordEmbed(dim, vocabulary, normalise=False), depth, heads),
            fusion=CrossDecoder(dim, depth, heads), align=Align(dim, dim, dim, bias=False),
            vocabulary=replace(vocabulary, decode=None), needs=self.needs)  # fmt: skip
        head = WordScores(dim, vocabulary, bias=False)
        return System(model, {"itc": Contrastive(), "caption": Weighted(2.0, Captioning(head))})


PAPER = Recipe(system=CoCa(), train=Train(steps=500_000,
    batch_size=65_536, lr=8e-4, lr_decay="linear", warmup=10_000, weight_decay=0.01, beta2=0.999))  # fmt: skip
TINY = tiny(CoCa(picture=(64, 3, 4), text=(64, 1, 4), pool=(17, 4), patch=16, image_size=64, tokenizer="wordpiece"),
            steps=1600, batch_size=64)  # fmt: skip
