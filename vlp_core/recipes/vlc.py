"""VLC (Gui et al., 2022, arXiv:2205.09256): ViLT on a masked autoencoder, which goes on telling hidden pixels."""

from dataclasses import dataclass
from typing import ClassVar

from vlp_core.data.settings import Data
from vlp_core.encoders.patches import PatchEmbed
from vlp_core.encoders.words import WordEmbed
from vlp_core.fusion.single_stream import SingleStream
from vlp_core.heads.matching import MatchHead
from vlp_core.heads.pixels import PixelDecoder
from vlp_core.heads.words import WordHead
from vlp_core.model import IMAGENET_MEAN, IMAGENET_STD, VLModel
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.masked_image import MaskedImage
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Matching, Shuffled
from vlp_core.recipes.recipe import WHOLE, Needs, Recipe, tiny
from vlp_core.system import System
from vlp_core.train.settings import Train
from vlp_core.view import RandomPlaces
from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class VLC:
    """MAE's ViT over patches and words, and its decoder (section 3); its weights come from `interop.vit_mae`."""

    trunk: tuple[int, int, int] = (768, 12, 12)
    """Width, blocks and attention heads of the transformer."""
    decoder: tuple[int, int, int] = (512, 8, 16)
    """Width, blocks and attention heads of the decoder of pixels."""
    patch: int = 16
    """Side of a patch in pixels."""
    image_size: int = 384
    """Side of the square that pictures are brought to, in pixels."""
    dropout: float = 0.0
    """In the embedding of words."""
    hidden: float = 0.6
    """Share of the patches that are hidden where words are; the paper's code hides them from matching as well."""
    needs: ClassVar[Needs] = Needs(tokenizer="wordpiece", length=40, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def build(self, vocabulary: Vocabulary) -> System:
        (dim, depth, heads), (narrow, blocks, looks) = self.trunk, self.decoder
        image, words = PatchEmbed(dim, self.patch, self.image_size), WordEmbed(dim, vocabulary, dropout=self.dropout)
        fusion = SingleStream(Trunk(dim, depth, heads))
        model = VLModel(image=image, text=words, fusion=fusion, vocabulary=vocabulary, needs=self.needs)
        masking, hidden = Masking(0.15, whole_words=True), RandomPlaces(self.hidden)
        pixels = PixelDecoder(dim, places=image.count, patch=self.patch, dim=narrow, depth=blocks, heads=looks)
        return System(model, {
            "itm": Matching(MatchHead(dim), Shuffled(0.5)),
            "mlm": MaskedLanguage(WordHead(dim, vocabulary), masking, image=hidden),
            "mim": MaskedImage(pixels, hidden, patch=self.patch, words=masking),
        })  # fmt: skip


PAPER = Recipe(system=VLC(dropout=0.1), data=Data(crop_scale=(0.8, 1.0), flip=0.5), starts=("image",),
    train=Train(steps=25_000, batch_size=4096, lr=1e-4, lr_decay="linear", warmup=2500, weight_decay=0.01, eps=1e-8,
    clip_norm=None))  # fmt: skip
TINY = tiny(VLC(trunk=(96, 2, 4), decoder=(32, 1, 4), hidden=0.25, image_size=64), steps=1400, data=WHOLE)
