"""Weights of other sizes brought to those of a system, and put into it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from vlp_core.errors import UserError
from vlp_core.interop.place import Placed

GRIDS = ("pos_embed", "image.position", "decoder.position", "visual.positional_embedding")
"""Tables of a grid's places, [rows, dim] or [1, rows, dim]."""
WORDS = ("text.word.weight", "text.embed.word.weight", "head.scores.weight", "head.scores.bias")
"""Tables whose rows are the words of a vocabulary."""


@dataclass(frozen=True)
class Rows:
    """The words that two vocabularies have in common, by their rows in the one's tables and in the other's."""

    ours: Tensor
    theirs: Tensor

    @classmethod
    def of(cls, ours: Mapping[str, int], theirs: Mapping[str, int]) -> "Rows":
        """By the pieces of both, piece -> number; UserError where they have none in common."""
        both = sorted((number, theirs[piece]) for piece, number in ours.items() if piece in theirs)
        if not both:
            raise UserError("has none of this system's word pieces; give one that reads this language")
        own, other = zip(*both, strict=True)
        return cls(torch.tensor(own), torch.tensor(other))


@torch.no_grad()
def put(tensors: Mapping[str, Tensor], placed: Placed, rows: Rows | None) -> None:
    """Copy what is placed into the tensors of a system. UserError for what does not fit.

    rows: the words in common; None where nothing is known of them: then there must be equally many.
    """
    for name in tensors:
        if name.startswith(placed.complete) and ".cross" not in name and name not in placed.state:
            raise UserError(f"lacks {name}, which this system has")
    for name, value in placed.state.items():
        if name not in tensors:
            raise UserError(f"has {name}, for which this system has no place")
        tensors[name].copy_(_fitted(name, value, tensors[name], rows))
    for name, row in placed.zero:
        tensors[name][row] = 0


def _fitted(name: str, theirs: Tensor, ours: Tensor, rows: Rows | None) -> Tensor:
    if name.endswith(WORDS) and theirs.shape[1:] == ours.shape[1:]:
        return _words(theirs, ours, rows)
    if theirs.shape == ours.shape or theirs.numel() == ours.numel() == 1:
        return theirs.reshape(ours.shape)
    if name.endswith(GRIDS) and theirs.shape[-1] == ours.shape[-1]:
        return _grid(theirs.reshape(1, *theirs.shape[-2:]), ours.shape[-2]).reshape(ours.shape)
    if name.endswith("position.weight") and theirs.shape[1:] == ours.shape[1:] and len(theirs) > len(ours):
        return theirs[: len(ours)]
    raise UserError(
        f"{name} is {tuple(theirs.shape)}, and this system's {tuple(ours.shape)}; give weights of its sizes"
    )


def _words(theirs: Tensor, ours: Tensor, rows: Rows | None) -> Tensor:
    if rows is None:
        if len(theirs) != len(ours):
            raise UserError(
                f"has {len(theirs)} words and this system's vocabulary {len(ours)}; give a folder that has "
                "tokenizer.json or vocab.txt too, so that each is taken by what it is"
            )
        return theirs
    there = rows.theirs < len(theirs)
    return ours.index_copy(0, rows.ours[there].to(ours.device), theirs[rows.theirs[there]].to(ours))


def _grid(theirs: Tensor, count: int) -> Tensor:
    """Places of a square grid [1, 1 + N, dim] -> [1, count, dim], bicubic; the whole picture's keeps its own."""
    old, new = (isqrt(rows) for rows in (theirs.shape[1], count))
    before = count - new**2
    if theirs.shape[1] - old**2 != before:
        raise UserError(f"its {theirs.shape[1]} places and this system's {count} are not of square grids alike")
    return resample_abs_pos_embed(theirs.float(), [new, new], [old, old], num_prefix_tokens=before)
