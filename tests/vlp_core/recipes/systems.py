"""Every recipe's TINY as a system with a small vocabulary, and batches as it reads them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlp_core.recipes.builders import END, START, WORDS, batch
from vlp_core.batch import Batch
from vlp_core.needs import Needs
from vlp_core.objectives.weighted import Weighted
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.system import System
from vlp_core.vocabulary import Vocabulary

ALL = pytest.mark.parametrize("name", RECIPES)
PAIRS_OF_BYTES = Vocabulary(size=49_408, pad=0, start=49_406, end=49_407, length=16)
"""open_clip's, whose padding is a word too."""


def needs(name: str) -> Needs:
    found: Needs = RECIPES[name].TINY.system.needs
    return found


def vocabulary(name: str) -> Vocabulary:
    return WORDS if needs(name).tokenizer == "wordpiece" else PAIRS_OF_BYTES


def system(name: str, seed: int = 0) -> System:
    torch.manual_seed(seed)
    built: System = RECIPES[name].TINY.system.build(vocabulary(name))
    return built


def awake(name: str) -> System:
    """In evaluation mode, with weights that tell one word from another, as fresh ones hardly do."""
    built = system(name).eval()
    for parameter in built.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.2)
    return built


def objectives(built: System) -> Iterator[tuple[str, nn.Module]]:
    """By name, without their weights."""
    for name, part in built.objectives.items():
        yield name, part.objective if isinstance(part, Weighted) else part


def batch_of(name: str, rows: int, **more: Any) -> Batch:
    """See `builders.batch`."""
    made = batch(rows, size=RECIPES[name].TINY.system.image_size, **more)
    known, tokens = vocabulary(name), made.tokens.clone()
    tokens[made.tokens == START], tokens[made.tokens == END] = known.start, known.end
    if needs(name).fixed:
        tokens = torch.cat([tokens, tokens.new_full((rows, needs(name).length - tokens.shape[1]), known.pad)], dim=1)
    return replace(made, tokens=tokens)
