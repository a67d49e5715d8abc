"""CLIP (Radford et al., 2021, arXiv:2103.00020): two towers, one space, symmetric InfoNCE."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vlp_core.errors import UserError
from vlp_core.needs import OPENAI_MEAN, OPENAI_STD, Needs
from vlp_core.recipes.recipe import Recipe
from vlp_core.train.settings import Train

if TYPE_CHECKING:
    from vlp_core.system import System
    from vlp_core.vocabulary import Vocabulary

HEAD_WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class CLIP:
    """The sizes of the two towers, or the name of one of open_clip's architectures."""

    tower: Literal["vit", "resnet"] = "vit"
    """The image tower: a vision transformer, or CLIP's ResNet, which needs less data. The ResNet's batch norm takes its
    statistics from the whole batch, over all workers."""
    image_size: int = 64
    """Side of the square that pictures are brought to, in pixels."""
    patch: int = 16
    """Side of a patch of the transformer, in pixels."""
    vision_width: int = 192
    """Width of the image tower: a multiple of 64, and for the ResNet (whose last stage is 32 times as wide) of 2."""
    vision_layers: int = 4
    """Blocks of the transformer, or of each of the ResNet's four stages."""
    text_width: int = 128
    """Width of the text tower."""
    text_layers: int = 2
    """Blocks of the text tower."""
    text_heads: int = 2
    """Attention heads of the text tower."""
    embed_dim: int = 128
    """Dimensions of the space that both towers map to."""
    context: int = 24
    """Tokens of a caption, longer ones are cut."""
    loss: Literal["softmax", "sigmoid"] = "softmax"
    """InfoNCE over the whole batch, or every pair on its own (SigLIP, arXiv:2303.15343)."""
    open_clip: str | None = None
    """One of open_clip's architectures by name (ViT-B-32); it takes the place of all the sizes above."""

    def __post_init__(self) -> None:
        vit = self.tower == "vit"
        parts = {"image_size": self.patch if vit else 32, "vision_width": HEAD_WIDTH if vit else 2}
        for whole, part in {**parts, "text_width": self.text_heads}.items():
            if getattr(self, whole) % part:
                raise UserError(f"--model.{whole.replace('_', '-')} {getattr(self, whole)}: give a multiple of {part}")

    def check(self) -> None:
        """UserError where open_clip has no architecture of that name."""
        if self.open_clip is not None:
            self.model_cfg()

    def model_cfg(self) -> dict[str, Any]:
        """open_clip's configuration of the two towers."""
        if self.open_clip is not None:
            from vlp_core.dual_encoder import architecture

            return architecture(self.open_clip)
        return {
            "embed_dim": self.embed_dim,
            **({"init_logit_scale": math.log(10), "init_logit_bias": -10.0} if self.loss == "sigmoid" else {}),
            "vision_cfg": {
                "image_size": self.image_size,
                "width": self.vision_width,
                "head_width": HEAD_WIDTH,
                **self._blocks(),
            },
            "text_cfg": {
                "context_length": self.context,
                "vocab_size": 49408,
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
            },
        }

    def _blocks(self) -> dict[str, Any]:
        if self.tower == "resnet":
            return {"layers": [self.vision_layers] * 4}
        return {"layers": self.vision_layers, "patch_size": self.patch}

    @property
    def needs(self) -> Needs:
        model = self.model_cfg()
        if "hf_tokenizer_name" in model["text_cfg"]:
            raise UserError(
                f"{self.open_clip}: its tokenizer is Hugging Face's; name one with open_clip's, as ViT-B-32"
            )
        published: dict[str, Any] = {"mean": OPENAI_MEAN, "std": OPENAI_STD}
        if self.open_clip is not None:
            from vlp_core.dual_encoder import published_preprocess

            published |= published_preprocess(self.open_clip)
        length = model["text_cfg"].get("context_length", 77)
        side = model["vision_cfg"]["image_size"]
        return Needs(tokenizer="bpe", length=length, fixed=True, size=side, **published)

    def build(self, _vocabulary: "Vocabulary") -> "System":
        """The system with fresh weights, drawn from torch's generator."""
        from vlp_core.dual_encoder import DualEncoder
        from vlp_core.objectives.contrastive import Contrastive
        from vlp_core.objectives.sigmoid import Sigmoid
        from vlp_core.sizes import config_of
        from vlp_core.system import System

        model = DualEncoder({"model_cfg": self.model_cfg(), "preprocess_cfg": config_of(self)["preprocess"]})
        return System(model, {"contrastive": Sigmoid() if self.loss == "sigmoid" else Contrastive()})


TINY = Recipe(system=CLIP(tower="resnet", vision_width=16, vision_layers=1), train=Train(steps=900, lr=2e-3))
"""What learns the embedded corpus on two cores in minutes."""

VIT_B_32 = CLIP(
    image_size=224,
    patch=32,
    vision_width=768,
    vision_layers=12,
    text_width=512,
    text_layers=12,
    text_heads=8,
    embed_dim=512,
    context=77,
)
"""Table 20."""

PAPER = Recipe(
    system=VIT_B_32,
    train=Train(steps=390_000, batch_size=32_768, lr=5e-4, weight_decay=0.2, warmup=2_000, clip_norm=None),
)
"""Tables 18 and 20: 32 epochs of 400 million pairs."""
