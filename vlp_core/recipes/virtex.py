"""VirTex (Desai and Johnson, 2020, arXiv:2006.06666): a CNN that learns to see by captioning, in both directions."""

from dataclasses import dataclass
from typing import ClassVar

from vlp_core.data.settings import Data
from vlp_core.encoders.pictures import by_name, resnet
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.fusion.two_way import TwoWay
from vlp_core.heads.words import WordScores
from vlp_core.model import IMAGENET_MEAN, IMAGENET_STD, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.captioning import BACKWARD, FORWARD, Captioning
from vlp_core.recipes.recipe import Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class VirTex:
    """The best of the paper's models, L1-H2048 (section 4)."""

    image: str | None = "resnet50"
    """One of timm's CNNs by name; none: a small one."""
    text: tuple[int, int, int] = (2048, 1, 32)
    """Width, blocks and attention heads of each of the two decoders."""
    image_size: int = 224
    """Side of the square that pictures are brought to, in pixels."""
    dropout: float = 0.0
    """In the embedding of words and the decoders."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=30, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, depth, heads), size = self.text, self.image_size
        words = WordEmbed(dim, vocabulary, eps=1e-8, dropout=self.dropout)
        ahead, back = (
            CrossAttention(Trunk(dim, depth, heads, norm="post", context_dim=dim, eps=1e-5, dropout=self.dropout))
            for _ in range(2)
        )
        image = by_name(self.image, image_size=size) if self.image else resnet(image_size=size, width=16, dim=128)
        fusion = TwoWay(ahead, back, image_dim=image.dim)
        model = VLModel(image=image, text=words, fusion=fusion, vocabulary=vocabulary, needs=self.needs)
        head = WordScores(dim, vocabulary, tied=words.word)
        return System(model, {"bicaption": Captioning(head, directions=(FORWARD, BACKWARD))})


HEAD = tuple(f"{part}=0.005" for part in ("model.text", "model.fusion", "objectives"))
# The paper mirrors pictures (and left and right in captions), jitters their colours, has Lookahead around SGD, and lets
# the CNN's norms and biases decay too.
PAPER = Recipe(system=VirTex(dropout=0.1), data=Data(crop_scale=(0.2, 1.0)), train=Train(
    steps=500_000, batch_size=256, optimizer="sgd", lr=0.2, lr_scale=HEAD, beta1=0.9, weight_decay=1e-4,
    warmup=10_000, clip_norm=10.0))  # fmt: skip
TINY = tiny(VirTex(image=None, text=(64, 1, 4), image_size=64), steps=900, batch_size=64)
