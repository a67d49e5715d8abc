"""Captions that are longer than what a model reads of them: nothing else would say that their ends are lost."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from vlp_core.data.tokens import Tokenizer
from vlp_core.tracker import Tracker

COUNTED = 10_000  # captions
SHARE = 0.01


def tell_cut(captions: Sequence[str], sizes: Any, tokenizer: Tokenizer, tracker: Tracker) -> None:
    """Warn, and give the metric `captions_cut`, where 1 % of the captions or more are cut; `COUNTED` of a data set tell
    that of all. `sizes` are the recipe's (`vlp_core.sizes.SystemSizes`)."""
    lengths = np.sort([tokenizer.count(caption) for caption in captions])
    reads = tokenizer.vocabulary.length
    share = float((lengths > reads).mean()) if len(lengths) else 0.0
    if share < SHARE:
        return
    enough = int(lengths[-int(np.ceil(SHARE * len(lengths)))])  # fewer than that share are longer
    tracker.metrics({"captions_cut": share}, step=0)
    tracker.warn(
        f"{100 * share:.0f} % of the captions are longer than the {reads} tokens that the model reads, and are cut"
        + (f": --model.context {enough} cuts fewer than {100 * SHARE:.0f} %" if _can_read(sizes, enough) else "")
    )


def _can_read(sizes: Any, length: int) -> bool:
    """Whether the recipe has a flag for the length, and it counts there: an architecture by its name has its own."""
    if "context" not in [field.name for field in fields(sizes)]:
        return False
    return bool(replace(sizes, context=length).needs.length == length)
