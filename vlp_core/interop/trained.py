"""What other libraries have trained, in one form whichever library it is of: a tower of a system, or all of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlp_core.interop.names import State

Config = dict[str, Any]
Pixels = tuple[tuple[float, ...], tuple[float, ...]]
"""The mean that was taken off pixels between 0 and 1, and the deviation that they were divided by, of each channel."""
VIT = "VisionTransformer"


@dataclass(frozen=True)
class Sizes:
    """Of a stack of blocks: what two must have in common to compute the same, though no shape may say so."""

    depth: int
    width: int
    heads: int
    patch: int | None = None
    """Side of a patch in pixels, where it begins with patches."""
    activation: str = "gelu"

    def __str__(self) -> str:
        patches = f", on patches of {self.patch} pixels" if self.patch else ""
        return f"{self.depth} blocks of width {self.width} with {self.heads} heads and {self.activation}{patches}"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An encoder of pictures under timm's names."""

    state: State
    sizes: Sizes | None
    """None where it is no ViT."""
    kind: str = VIT
    """timm's class."""
    decoder: State = field(default_factory=dict)
    """A masked autoencoder's, under the names of a PixelDecoder."""
    decoder_sizes: Sizes | None = None
    pixels: Pixels | None = None
    """None where nothing says it."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A BERT: `embed.…` as of a WordEmbed, `blocks.…` as of a Trunk."""

    state: State
    sizes: Sizes


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A system under the names of `System.finished`, or a part of it; `sizes` of its stacks by the parts' names.

    words: numbers of words that lie beyond those of its tokenizer.
    """

    kind: str
    state: State
    sizes: Mapping[str, Sizes]
    words: Mapping[str, int] = field(default_factory=dict)


def pixels_of(config: Mapping[str, Any], prefix: str = "") -> Pixels | None:
    """What a configuration of pictures says; `prefix` of its keys."""
    mean, std = config.get(f"{prefix}mean"), config.get(f"{prefix}std")
    return None if mean is None or std is None else (tuple(mean), tuple(std))


def sizes_of(config: Config, prefix: str = "") -> Sizes:
    """What a configuration of transformers' says of a stack; `prefix` of its keys."""
    return Sizes(
        config[f"{prefix}num_hidden_layers"],
        config[f"{prefix}hidden_size"],
        config[f"{prefix}num_attention_heads"],
        config.get("patch_size") if not prefix else None,
        config.get("hidden_act", "gelu"),
    )
