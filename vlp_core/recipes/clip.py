"""CLIP (Radford et al., 2021, arXiv:2103.00020): two towers, one space, symmetric InfoNCE."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vlp_core.recipes.recipe import Recipe
from vlp_core.towers import Towers
from vlp_core.train.settings import Train

if TYPE_CHECKING:
    from vlp_core.system import System
    from vlp_core.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class CLIP(Towers):
    """The sizes of the two towers, or the name of one of open_clip's architectures."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    """InfoNCE over the whole batch, or every pair on its own (SigLIP, arXiv:2303.15343)."""

    def build(self, _vocabulary: "Vocabulary") -> "System":
        # Inside, because a plan reads this file.
        from vlp_core.dual_encoder import DualEncoder
        from vlp_core.objectives.contrastive import Contrastive
        from vlp_core.objectives.sigmoid import START, Sigmoid
        from vlp_core.sizes import config_of
        from vlp_core.system import System

        sigmoid = self.loss == "sigmoid"
        model = DualEncoder({
            "model_cfg": self.model_cfg() | (START if sigmoid else {}),
            "preprocess_cfg": config_of(self)["preprocess"],
        })  # fmt: skip
        return System(model, {"itc": Sigmoid() if sigmoid else Contrastive()})


# The sizes of ViT-B/32 (table 20) and the settings of all models (table 18): 32 epochs of 400 million pairs.
PAPER = Recipe(system=CLIP(image_size=224, patch=32, vision_width=768, vision_layers=12,
                           text_width=512, text_layers=12, text_heads=8, embed_dim=512, context=77), train=Train(
    steps=390_000, batch_size=32_768, lr=5e-4, warmup=2_000, weight_decay=0.2, clip_norm=None))  # fmt: skip
TINY = Recipe(system=CLIP(tower="resnet", image_size=64, patch=16, vision_width=16, vision_layers=1,
                          text_width=128, text_layers=2, text_heads=2, embed_dim=128, context=24),
              train=Train(steps=760, lr=2e-3))  # fmt: skip
