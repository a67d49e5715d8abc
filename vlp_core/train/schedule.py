"""The learning rate as a function of the step alone, so that a resumed run has the rates it would have had."""

import math

from vlp_core.train.settings import Train


def learning_rate(step: int, train: Train) -> float:
    """Rate of step 1 … train.steps: linear warm-up to `lr`, then half a cosine down to 0 (as in CLIP and open_clip).

    Step k has the rate that open_clip gives its step k - 1.
    """
    done = step - 1
    warmup = min(train.warmup, train.steps)
    if done < warmup:
        return train.lr * (done + 1) / warmup
    return 0.5 * train.lr * (1 + math.cos(math.pi * (done - warmup) / (train.steps - warmup)))
