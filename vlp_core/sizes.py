"""What a recipe hands to training: the sizes of a system as a value; and what a finished model keeps of them."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Protocol

import torch
from torch import nn

from vlp_core.errors import UserError, first_line, nearest
from vlp_core.identity import key_of
from vlp_core.needs import Needs
from vlp_core.system import System
from vlp_core.vocabulary import Vocabulary


class SystemSizes(Protocol):
    """A frozen dataclass: the sizes of a system, and how it is put together."""

    @property
    def needs(self) -> Needs: ...

    @property
    def image_size(self) -> int:
        """Side of the square that pictures are brought to, in pixels."""

    def build(self, vocabulary: Vocabulary) -> System:
        """The system with fresh weights, drawn from torch's generator."""


def fresh_system(sizes: SystemSizes, vocabulary: Vocabulary, seed: int) -> System:
    """The system as a run with this seed begins: seeds torch's generator."""
    torch.manual_seed(key_of(seed, "weights"))
    return sizes.build(vocabulary)


def outline(sizes: SystemSizes) -> System:
    """What a system is made of, without weights and with a vocabulary of a few words: built in no time at any size."""
    words = Vocabulary(size=200, pad=0, start=1, end=2, mask=3, decode=4, encode=5, length=77)
    with torch.device("meta"):
        return sizes.build(words)


def check_sizes(sizes: SystemSizes) -> None:
    """UserError where no system has such sizes."""
    try:
        system = outline(sizes)
    except UserError as error:
        raise UserError(f"--model.…: {error}") from error
    except Exception as error:  # torch and timm have many kinds for what does not fit
        raise UserError(f"--model.…: no such system can be made ({first_line(error)}); give sizes that fit") from error
    for name, part in system.named_modules():
        stack = name.endswith("blocks") or name.startswith("model.fusion.")  # timm has empty ones by other names
        if stack and isinstance(part, nn.ModuleList | nn.Sequential) and not len(part):
            raise UserError(f"--model.…: {name} would have no block; give 1 or more")


def name_of(sizes: SystemSizes) -> str:
    """What a system is called, in configurations and among recipes."""
    return type(sizes).__name__.lower()


def sizes_from(kind: Any, recipe: Mapping[str, Any]) -> SystemSizes:
    """The sizes of this kind that a model's configuration keeps; UserError for those that the kind does not have."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items() if key != "name"}
    known = [field.name for field in fields(kind)]
    for size in given:
        if size not in known:
            name = recipe.get("name")
            raise UserError(f"{name} has no size {size!r}{nearest(size, known)} (the model was made by other code)")
    sizes: SystemSizes = kind(**given)
    return sizes


def config_of(sizes: SystemSizes) -> dict[str, Any]:
    """What lies beside the weights: the recipe, what it does to pictures, and its tokenizer."""
    needs = sizes.needs
    return {
        "recipe": {"name": name_of(sizes), **asdict(sizes)},  # type: ignore[call-overload]
        "preprocess": {
            "size": needs.size or sizes.image_size,
            "mode": "RGB",
            "mean": list(needs.mean),
            "std": list(needs.std),
            "interpolation": needs.interpolation,
            "resize_mode": needs.resize_mode,
            "fill_color": 0,
        },
        "tokenizer": {"name": needs.tokenizer, "context_length": needs.length, "fixed": needs.fixed},
    }
