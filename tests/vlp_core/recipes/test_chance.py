"""What every system says before it has learnt anything: that is, what chance gives."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.vlp_core.recipes.systems import ALL, batch_of, objectives, system, vocabulary
from vlp_core.objectives.alignment import WordPatchAlignment
from vlp_core.objectives.captioning import Captioning
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.masked_image import MaskedImage
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.objectives.matching import Matching
from vlp_core.objectives.momentum_contrastive import MomentumContrastive
from vlp_core.objectives.sigmoid import Sigmoid
from vlp_core.recipes.catalogue import RECIPES

PAIRS = 24
CHANCE: dict[type[nn.Module], Callable[[Any, int], float] | None] = {
    Contrastive: lambda _objective, _words: math.log(PAIRS),
    MomentumContrastive: lambda _objective, _words: math.log(PAIRS),  # the queue is empty yet
    # At its bias of −10: nearly nothing for each of the others, and 10 for what belongs together.
    Sigmoid: lambda _objective, _words: math.log1p(math.exp(10)) + (PAIRS - 1) * math.log1p(math.exp(-10)),
    Matching: lambda _objective, _words: math.log(2),
    MaskedLanguage: lambda _objective, words: math.log(words),
    Captioning: lambda objective, words: len(objective.directions) * math.log(words),
    # Pixels of variance 1, and a decoder whose first answers have that of its weights: width · 0.02² · 768 / width.
    MaskedImage: lambda _objective, _words: 1 + 768 * 0.02**2,
    # The difference of two costs, which are as large as states happen to be alike; how many pairs match is drawn.
    WordPatchAlignment: None,
}
"""By objective: the loss of a system that knows nothing, given how many words there are. None: there is no number."""


def check(given: Any, built: Any, words: int) -> None:
    losses = built(given)
    for name, objective in objectives(built):
        kind = type(objective)
        assert kind in CHANCE, f"say what chance predicts for {kind.__name__} ({name}), in CHANCE"
        predicted = CHANCE[kind]
        if predicted is not None:
            assert losses[name].item() == pytest.approx(predicted(objective, words), rel=0.2), name


@ALL
def test_losses_begin_where_chance_is(name: str) -> None:
    check(batch_of(name, PAIRS, longest=12), system(name), vocabulary(name).size)


def test_sigmoids_loss_begins_where_chance_is() -> None:
    torch.manual_seed(0)
    built = RECIPES["clip"].CLIP(**{**vars(RECIPES["clip"].TINY.system), "loss": "sigmoid"}).build(vocabulary("clip"))
    check(batch_of("clip", PAIRS, longest=12), built, vocabulary("clip").size)
