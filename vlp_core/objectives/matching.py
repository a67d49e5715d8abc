"""Image-text matching: does this picture belong to this text? With negatives that are shuffled or hard."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.gather import first_row, gather, global_mean
from vlp_core.nn.keyed import gumbel, uniform
from vlp_core.view import IGNORE, Pairing, Pairs, View

LEAST = 1e-4  # the weight that the least likely negative has (BLIP's code)


def strangers(view: View) -> Tensor:
    """bool [B, W·B]: the rows of all ranks that show neither this row's picture nor say its text."""
    images, texts = view.global_ids()
    return (view.batch.image_id[:, None] != images[None]) & (view.batch.text_id[:, None] != texts[None])


@dataclass(frozen=True)
class Shuffled:
    """Half of the texts (`share`) get the picture of a stranger (ViLT, arXiv:2102.03334, section 3.2)."""

    share: float = 0.5

    @property
    def prior(self) -> float:
        return math.log((1 - self.share) / self.share)

    def choose(self, view: View) -> Pairs:
        keys, allowed = view.batch.key, strangers(view)
        own = torch.arange(len(keys), device=keys.device) + first_row(len(keys))
        swapped = (uniform(keys, "swapped", 1)[:, 0] < self.share) & allowed.any(dim=1)
        other = uniform(keys, "stranger", allowed.shape[1]).masked_fill(~allowed, -1).argmax(dim=1)
        return Pairs(torch.where(swapped, other, own), None, (~swapped).long())


@dataclass(frozen=True)
class Hard:
    """For each picture a wrong text and for each text a wrong picture, drawn by how alike the model finds them
    (ALBEF, arXiv:2107.07651, section 3.2); by its twin where there is one."""

    prior = math.log(1 / 2)  # two beside each match

    def choose(self, view: View) -> Pairs:
        keys, allowed = view.batch.key, strangers(view)
        own = torch.arange(len(keys), device=keys.device) + first_row(len(keys))
        # Asked for with their gradients, which other objectives want of the same pass.
        judge, scale = view.twin or view, view.scale()
        images, texts = view.image_vectors(), view.text_vectors()
        other_images, other_texts = judge.image_vectors(), judge.text_vectors()
        with torch.no_grad(), torch.autocast(keys.device.type, enabled=False):
            text = self._draw(scale, images, gather(other_texts.detach()), allowed, keys, "hard text")
            image = self._draw(scale, texts, gather(other_images.detach()), allowed, keys, "hard image")
        label = torch.where(allowed.any(dim=1), 0, IGNORE)
        return Pairs(torch.cat([own, image]), torch.cat([text, own]), torch.cat([label, label]))

    def _draw(self, scale: Tensor, rows: Tensor, others: Tensor, allowed: Tensor, keys: Tensor, purpose: str) -> Tensor:
        """A stranger for each row, int64 [B]."""
        weight = (scale.float() * rows.float() @ others.float().T).softmax(dim=1) + LEAST
        logarithm = weight.log().masked_fill(~allowed, float("-inf"))
        return (logarithm + gumbel(keys, purpose, allowed.shape[1])).argmax(dim=1)


class Matching(nn.Module):
    """Two-way cross-entropy over the pairs that `negatives` makes; hard ones stand beside the batch's own pairs.

    Negatives come from all ranks, and with them the states of all rows: W·B·(N + L)·D numbers on each rank, and in the
    backward pass as many of their gradient.
    """

    def __init__(self, head: nn.Module, negatives: Shuffled | Hard) -> None:
        super().__init__()
        self.head, self.negatives = head, negatives

    def forward(self, view: View) -> Tensor:
        logits, labels = self.predict(view)
        loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
        return global_mean(loss, (labels != IGNORE).sum())

    @property
    def prior(self) -> float:
        """Log-odds of a match among the pairs it learns from: what it says of a pair that tells it nothing."""
        return self.negatives.prior

    def predict(self, view: View) -> tuple[Tensor, Tensor]:
        """Logits [M, 2] and labels int64 [M]: 1 for pairs that match."""
        pooled = [_pooled(view, self.negatives)]
        labels = [view.pairs(self.negatives).label]
        if isinstance(self.negatives, Hard):
            pooled.insert(0, _pooled(view, None))
            labels.insert(0, torch.ones_like(view.batch.image_id))
        return self.head(torch.cat(pooled)), torch.cat(labels)


def _pooled(view: View, pairs: Pairing | None) -> Tensor:
    pooled = view.fused(pairs=pairs).pooled
    assert pooled is not None
    return pooled
