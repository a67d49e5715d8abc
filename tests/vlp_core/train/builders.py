"""A system small enough for tests, and batches for it."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from vlp_core.batch import Batch
from vlp_core.data.tokens import tokenizer_of
from vlp_core.recipes.clip import CLIP
from vlp_core.sizes import config_of
from vlp_core.system import System
from vlp_core.train.settings import Train

VOCABULARY = tokenizer_of({"context_length": 8}).vocabulary
SMALL = CLIP(
    image_size=32,
    patch=16,
    vision_width=64,
    vision_layers=1,
    text_width=32,
    text_layers=1,
    text_heads=1,
    embed_dim=32,
    context=8,
)
TOWERS = {"vit": SMALL, "resnet": replace(SMALL, tower="resnet", vision_width=8, image_size=64)}
TRAIN = Train(steps=12, batch_size=8, lr=1e-3, warmup=3, log_every=2, checkpoint_every=3, threads=1, gpu=False)


def system(seed: int = 0, recipe: CLIP = SMALL) -> System:
    torch.manual_seed(seed)
    return recipe.build(VOCABULARY)


def config(recipe: CLIP = SMALL) -> dict[str, Any]:
    """What lies beside a finished model's weights."""
    return deepcopy(config_of(recipe) | system(0, recipe).described())


def batch(seed: int, size: int, *, start: int = 0, stop: int | None = None, recipe: CLIP = SMALL) -> Batch:
    """Rows start … stop of a batch of `size` random pictures and captions."""
    random = torch.Generator().manual_seed(seed)
    whole = Batch(
        pixels=torch.randint(
            0, 256, (size, 3, recipe.image_size, recipe.image_size), generator=random, dtype=torch.uint8
        ),
        tokens=torch.randint(1, 49408, (size, recipe.context), generator=random),
        image_id=torch.arange(size),
        text_id=torch.arange(size),
        key=torch.arange(size),
        uid=[str(i) for i in range(size)],
    )
    rows = slice(start, stop)
    part = {name: getattr(whole, name)[rows] for name in ("pixels", "tokens", "image_id", "text_id", "key", "uid")}
    return replace(whole, **part)
