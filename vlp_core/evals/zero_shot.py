"""Zero-shot classification (Radford et al., 2021, section 3.1): the nearest class name, worded by prompt templates."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vlp_core.evals.classes import Classes
from vlp_core.evals.encoder import Encoder
from vlp_core.evals.names import TOP_CUTS
from vlp_core.evals.retrieval import TIE


def classifier(encoder: Encoder, classes: Classes) -> Tensor:
    """One unit vector a class, float32 [C, D]: the mean of its texts' unit vectors, made unit again."""
    texts = [template.replace("{}", name) for name in classes.names for template in classes.templates]
    vectors = encoder.texts(texts).view(len(classes.names), len(classes.templates), -1)
    return F.normalize(vectors.mean(dim=1), dim=-1)


def ranks(images: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    """The rank of the right class, int64 [N]: 0 where it is the nearest, and behind those that are as near as it.

    Args:
        images: unit vectors [N, D].
        weights: unit vectors [C, D] of the classes.
        labels: int64 [N].
    """
    scores = images @ weights.T
    right = scores.gather(1, labels[:, None])
    return (~(scores < right - TIE)).sum(1) - 1


def accuracies(ranks: Tensor, groups: Sequence[str | None], classes: int) -> Iterator[tuple[str, float]]:
    """Top-1 and top-5 with chance beside, over all pictures and by group; a k that no class list can fail is left out.

    Args:
        ranks: of the right classes, int64 [N]; top-k is right where that is below k.
        groups: the group of each picture; None: in no group.
        classes: how many there are to choose from.
    """
    names = sorted({group for group in groups if group is not None})
    parts = {"": torch.ones(len(ranks), dtype=torch.bool)}
    parts |= {f"{name}/": torch.tensor([group == name for group in groups]) for name in names}
    for prefix, part in parts.items():
        for k in TOP_CUTS:
            if k == 1 or k < classes:
                yield f"{prefix}top{k}", (ranks[part] < k).double().mean().item()
                yield f"{prefix}top{k}_chance", k / classes
