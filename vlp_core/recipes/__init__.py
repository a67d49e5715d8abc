"""Recipes: a system with its paper's settings, one file each, and all of them by name."""

from vlp_core.recipes.clip import CLIP, PAPER, PAPER_TRAIN, TINY, TINY_TRAIN
from vlp_core.train.settings import Train

RECIPES: dict[str, CLIP] = {"tiny": TINY, "paper": PAPER}
TRAINING: dict[str, Train] = {"tiny": TINY_TRAIN, "paper": PAPER_TRAIN}
