"""Two towers of open_clip's as a value: sizes, or an architecture by its name. Free of torch, for a plan reads it."""

from dataclasses import dataclass
from typing import Any, Literal, cast

from vlp_core.errors import UserError, nearest
from vlp_core.needs import OPENAI_MEAN, OPENAI_STD, Needs

HEAD_WIDTH = 64
BYTE_PAIRS = 49_408


@dataclass(frozen=True, kw_only=True)
class Towers:
    """An image tower and a text tower that map to one space; by default those of CLIP's ViT-B/32.

    Raises UserError for sizes that do not fit one another.
    """

    tower: Literal["vit", "resnet"] = "vit"
    """The image tower: a vision transformer, or CLIP's ResNet, which needs less data. The ResNet's batch norm takes its
    statistics from the whole batch, over all workers."""
    image_size: int = 224
    """Side of the square that pictures are brought to, in pixels."""
    patch: int = 32
    """Side of a patch of the transformer, in pixels."""
    vision_width: int = 768
    """Width of the image tower: a multiple of 64, and for the ResNet (whose last stage is 32 times as wide) of 2."""
    vision_layers: int = 12
    """Blocks of the transformer, or of each of the ResNet's four stages."""
    text_width: int = 512
    """Width of the text tower."""
    text_layers: int = 12
    """Blocks of the text tower."""
    text_heads: int = 8
    """Attention heads of the text tower."""
    embed_dim: int = 512
    """Dimensions of the space that both towers map to."""
    context: int = 77
    """Tokens of a caption, longer ones are cut."""
    open_clip: str | None = None
    """One of open_clip's architectures by name (ViT-B-32); it takes the place of all the sizes above."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise UserError(f"--model.{name.replace('_', '-')} {value}: give 1 or more")
        vit = self.tower == "vit"
        parts = {"image_size": self.patch if vit else 32, "vision_width": HEAD_WIDTH if vit else 2}
        for whole, part in {**parts, "text_width": self.text_heads}.items():
            if getattr(self, whole) % part:
                raise UserError(f"--model.{whole.replace('_', '-')} {getattr(self, whole)}: give a multiple of {part}")

    def model_cfg(self) -> dict[str, Any]:
        """open_clip's configuration of the two; UserError where it has no architecture of that name."""
        if self.open_clip is not None:
            return architecture(self.open_clip)
        blocks: dict[str, Any] = {"layers": self.vision_layers, "patch_size": self.patch}
        if self.tower == "resnet":
            blocks = {"layers": [self.vision_layers] * 4}
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "image_size": self.image_size,
                "width": self.vision_width,
                "head_width": HEAD_WIDTH,
                **blocks,
            },
            "text_cfg": {
                "context_length": self.context,
                "vocab_size": BYTE_PAIRS,
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
            },
        }

    @property
    def needs(self) -> Needs:
        """What they ask of data; UserError for an architecture whose tokenizer is not open_clip's own."""
        model = self.model_cfg()
        if "hf_tokenizer_name" in model["text_cfg"]:
            raise UserError(
                f"{self.open_clip}: its tokenizer is Hugging Face's; name one with open_clip's, as ViT-B-32"
            )
        published: dict[str, Any] = {"mean": OPENAI_MEAN, "std": OPENAI_STD}
        if self.open_clip is not None:
            published |= published_preprocess(self.open_clip)
        length = model["text_cfg"].get("context_length", 77)
        side = model["vision_cfg"]["image_size"]
        return Needs(tokenizer="bpe", length=length, fixed=True, size=side, **published)


def architecture(name: str) -> dict[str, Any]:
    """The model_cfg of a dual encoder that open_clip knows; UserError where it is none, with the nearest name."""
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        raise UserError(f"open_clip has no architecture {name!r}{nearest(name, open_clip.list_models())}")
    if "multimodal_cfg" in config:
        raise UserError(
            "CoCa needs a captioning objective, which this recipe lacks; name a dual encoder such as ViT-B-32"
        )
    return cast(dict[str, Any], config)


def published_preprocess(name: str) -> dict[str, Any]:
    """What open_clip's published weights of an architecture ask of pictures, as far as they agree on it.

    Keys of a preprocess_cfg: mean, std, interpolation, resize_mode. A file of weights does not say which it is of, and
    those that agree on another mean than OpenAI's (MobileCLIP, PE-Core) would be given pictures they do not know.
    """
    import open_clip

    published = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    agreed = {}
    for key in ("mean", "std", "interpolation", "resize_mode"):
        values = {config[key] for config in published if key in config}
        if len(values) == 1:
            (value,) = values
            agreed[key] = list(value) if isinstance(value, tuple) else value
    return agreed
