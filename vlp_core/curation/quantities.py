"""What rules can ask about a picture and its captions: a judge works it out, once, as columns by uid.

A judge is a function of a shard and a line in `JUDGES`; what it gives can then be asked for by name in a rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vlp_core.curation import captions, listed, speech
from vlp_core.curation.language import detector_named
from vlp_core.curation.shard import Shard

NUMBER = None
"""The words of a quantity that is a number."""
YES_OR_NO = ("yes", "no")
FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
"""Those that are taken (`vlp_core.web.sniff`)."""
ANY_CODE = ()
"""Two or three letters, as ISO 639 has them."""


@dataclass(frozen=True)
class Quantity:
    """What a rule compares: a number, or one of some words."""

    about: str
    words: tuple[str, ...] | None = NUMBER
    example: str = ">=1"


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Works out quantities of a shard's pictures (an array [pictures] each), or of their captions ([captions])."""

    measure: Callable[[Shard], Mapping[str, Any]] | None
    """None: a step of its own writes these columns, for it needs more than a shard's rows."""
    of: Literal["pictures", "captions"]
    gives: Mapping[str, Quantity]
    version: str = "1"
    """Raised where the meaning of what it gives changes: its columns are then made anew."""
    costly: bool = False
    """Has a step of its own, made where a rule asks for it; the others share one."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns of IMAGES without which a quantity is null."""
    whole: bool = False
    """Needs to know how many pictures have each caption, over all shards."""


def language(shard: Shard) -> Mapping[str, Any]:
    """Of the captions, by the detector that the settings name."""
    return {"language": pa.array(detector_named(shard.detector)(shard.texts.to_pylist()), pa.string())}


_SIDES = ("original_width", "original_height")

JUDGES: dict[str, Judge] = {
    "picture": Judge(
        measure=captions.of_pictures,
        of="pictures",
        gives={
            "side": Quantity("smaller side of the original picture, in pixels", example=">=200"),
            "ratio": Quantity("longer side by shorter side", example="<=3"),
            "bytes": Quantity("size of the file as it came, or as it was found there", example=">=5000"),
            "captions": Quantity("how many captions the picture has"),
            "format": Quantity("what the file came as, or was found as", FORMATS, "=jpeg"),
        },
        version="2",
        needs={"side": _SIDES, "ratio": _SIDES, "bytes": ("bytes",), "format": ("format",)},
    ),
    "list": Judge(
        measure=listed.of_lists,
        of="pictures",
        gives={"listed": Quantity("no if the picture is another than its list says by sha256", YES_OR_NO, "=yes")},
    ),
    "text": Judge(
        measure=captions.of_texts,
        of="captions",
        gives={
            "chars": Quantity("characters of the caption", example=">5"),
            "words": Quantity("words of the caption, parted by white space", example=">2"),
            "repetition": Quantity("share of the words that stand in it already (0: all differ)", example="<=0.2"),
            "filename": Quantity("yes if the caption is a file name or a url, else no", YES_OR_NO, "=no"),
        },
    ),
    "language": Judge(
        measure=language,
        of="captions",
        gives={"language": Quantity("code of the caption's language, such as en", ANY_CODE, "=en")},
        costly=True,
    ),
    "speech": Judge(
        measure=speech.of_texts,
        of="captions",
        gives={
            "nouns": Quantity("nouns in the caption (English)"),
            "determiners": Quantity("determiners in the caption (English): a, the, this, …"),
        },
        costly=True,
    ),
    "shared": Judge(
        measure=captions.of_others,
        of="captions",
        gives={"shared": Quantity("how many pictures have this caption", example="<=10")},
        costly=True,
        whole=True,
    ),
    "score": Judge(
        measure=None,
        of="captions",
        gives={"clip": Quantity("cosine of picture and caption; also 'clip>=top30%'", example=">=0.28")},
        costly=True,
    ),
    "prompts": Judge(
        measure=None,
        of="pictures",
        gives={
            "unsafe": Quantity("probability that it is unsafe, by zero-shot prompts", example="<=0.5"),
            "watermark": Quantity("probability that it has a watermark, by zero-shot prompts", example="<=0.8"),
            "quality": Quantity("probability that it is a good photo, by zero-shot prompts", example=">=0.5"),
        },
        costly=True,
    ),
}  # fmt: skip

QUANTITIES: dict[str, Quantity] = {name: given for judge in JUDGES.values() for name, given in judge.gives.items()}


def judge_of(quantity: str) -> str:
    """The name of the judge that gives a quantity."""
    return next(name for name, judge in JUDGES.items() if quantity in judge.gives)


def of_captions(quantity: str) -> bool:
    return JUDGES[judge_of(quantity)].of == "captions"


def unknown(quantity: str, count: int) -> NDArray[Any]:
    """[count] values of a quantity of which none is known: nan, or None where it is a word."""
    return np.full(count, np.nan if QUANTITIES[quantity].words is NUMBER else None)
