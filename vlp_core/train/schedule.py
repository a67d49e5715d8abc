"""The learning rate as a function of the step alone, so that a resumed run has the rates it would have had."""

import math

from vlp_core.train.settings import Train


def learning_rate(step: int, train: Train) -> float:
    """Rate of step 1 … train.steps: linear warm-up to `lr`, then half a cosine or a line down to `lr_end`.

    Step k has the rate that open_clip gives its step k - 1.
    """
    done = step - 1
    warmup = min(train.warmup, train.steps)
    if done < warmup:
        return train.lr * (done + 1) / warmup
    gone = (done - warmup) / (train.steps - warmup)
    left = 1 - gone if train.lr_decay == "linear" else 0.5 * (1 + math.cos(math.pi * gone))
    return train.lr_end + (train.lr - train.lr_end) * left
