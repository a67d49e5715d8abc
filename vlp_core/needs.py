"""What a system asks of its data; free of torch, so that a plan can read it."""

from dataclasses import dataclass
from typing import Literal

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a system asks of its data."""

    tokenizer: Literal["bpe", "wordpiece"] = "wordpiece"
    """open_clip's byte pairs, or word pieces, of the corpus itself or of a BERT."""
    length: int = 40
    """Tokens of the longest text; longer ones are cut."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Taken off pixels between 0 and 1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What they are divided by then."""
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fixed: bool = False
    """Whether every text is padded to `length`: towers of open_clip's were made for that."""
    size: int | None = None
    """Side of the square that pictures are brought to, where it is not the recipe's image_size."""
