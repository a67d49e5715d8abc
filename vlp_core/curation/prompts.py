"""Zero-shot judges of pictures: two lists of prompts, and how much nearer a picture is to the first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlp_core.curation.quantities import JUDGES
from vlp_core.errors import UserError, nearest

Floats = NDArray[np.float32]

NAMES = tuple(JUDGES["prompts"].gives)
SIDES = ("yes", "no")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a picture is asked: `yes` are texts that describe what is looked for, `no` what it is told from."""

    name: str
    yes: tuple[str, ...]
    no: tuple[str, ...]

    def probability(self, pictures: Floats, yes: Floats, no: Floats, scale: float) -> Floats:
        """float32 [N]: the softmax over the two lists, each the mean direction of its texts (Radford et al., 2021,
        arXiv:2103.00020, section 3.1.4), of unit vectors [N, D], [Y, D] and [M, D]; `scale` is the model's own."""
        towards, away = (side.mean(axis=0) / np.linalg.norm(side.mean(axis=0)) for side in (yes, no))
        return 1 / (1 + np.exp(-scale * (pictures @ (towards - away)).astype(np.float64))).astype(np.float32)


BUILT_IN = (
    Prompt(
        name="unsafe",
        yes=("a nude photo", "pornography", "an explicit sexual picture", "a photo of violence with blood and gore"),
        no=("a photo that is safe for work", "a photo of everyday life", "a photo of an object", "a landscape"),
    ),
    Prompt(
        name="watermark",
        yes=("a photo with a watermark", "a stock photo with text over it", "a picture with a logo across it"),
        no=("a photo without a watermark", "a clean photo without text", "a picture without a logo"),
    ),
    Prompt(
        name="quality",
        yes=("a good photo", "a sharp, well-lit photo", "a high quality picture"),
        no=("a bad photo", "a blurry, dark photo", "a low quality picture"),
    ),
)


def read_prompts(path: Path | None) -> tuple[Prompt, ...]:
    """The prompts of a file, `{"unsafe": {"yes": [...], "no": [...]}, …}`, and the built-in ones it leaves out.

    UserError for a file that is missing or none of that form, and for a name that no rule can ask for.
    """
    if path is None:
        return BUILT_IN
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"--score.prompts {path}: no such file; give a JSON file of prompts") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"--score.prompts {path}: not readable as JSON ({error}); give a JSON file of prompts"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f'--score.prompts {path}: not a JSON object; write {{"unsafe": {{"yes": […], "no": […]}}}}')
    for name in content:
        if name not in NAMES:
            raise UserError(f"--score.prompts {path}: {name!r} is not asked for{nearest(name, NAMES)}")
    return tuple(_read(content[known.name], known.name, path) if known.name in content else known for known in BUILT_IN)


def _read(lists: object, name: str, path: Path) -> Prompt:
    sides = [lists.get(side) if isinstance(lists, Mapping) else None for side in SIDES]
    for side, texts in zip(SIDES, sides, strict=True):
        if not isinstance(texts, Sequence) or isinstance(texts, str) or not texts or not all(map(_is_text, texts)):
            raise UserError(f"--score.prompts {path}: {name} needs {side!r}, a list of texts")
    yes, no = (tuple(texts) for texts in sides if isinstance(texts, Sequence))
    return Prompt(name=name, yes=yes, no=no)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
