"""UFO (Wang et al., 2021, arXiv:2111.10023): one transformer encodes pictures, texts, and both together."""

from dataclasses import dataclass
from typing import ClassVar

from vlp_core.encoders.patches import PatchEmbed
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.single_stream import SingleStream
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.projection import Align
from vlp_core.heads.words import WordHead
from vlp_core.model import HALF, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Hard, Matching
from vlp_core.recipes.recipe import Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class UFO:
    """A ViT that reads too; masked words are told from all the others, and from those before them (section 3)."""

    trunk: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the transformer."""
    patch: int = 32
    """Side of a patch in pixels."""
    image_size: int = 224
    """Side of the square that pictures are brought to, in pixels."""
    space: int = 768
    """Dimensions of the space in which pictures and texts are compared."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=40, mean=HALF, std=HALF)

    def build(self, vocabulary: Vocabulary) -> System:
        dim, depth, heads = self.trunk
        words = WordEmbed(dim, vocabulary)
        model = VLModel(
            image=PatchEmbed(dim, self.patch, self.image_size),
            text=words,
            fusion=SingleStream(Trunk(dim, depth, heads)),
            align=Align(dim, dim, self.space),
            alone=("image", "text"),
            vocabulary=vocabulary,
            needs=self.needs,
        )
        head = WordHead(dim, vocabulary, tied=words.word)
        return System(model, {
            "itc": Contrastive(),
            "itm": Matching(MatchHead(dim), Hard()),
            "mlm": MaskedLanguage(head, Masking(0.15)),
            "prefix_mlm": MaskedLanguage(head, Masking(0.15), attention="prefix"),
        })  # fmt: skip


# No public code confirms these settings of training, nor whether a step takes all of the objectives or draws one.
PAPER = Recipe(system=UFO(), train=Train(steps=200_000, batch_size=4096, lr=2e-4, warmup=500, weight_decay=0.05))
TINY = tiny(UFO(trunk=(64, 2, 4), patch=16, image_size=64, space=64), steps=900, lr=3e-3)
