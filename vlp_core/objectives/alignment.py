"""Word-patch alignment: optimal transport between words and places of the picture (UNITER, arXiv:1909.11740; ViLT)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.gather import gather_texts, global_mean
from vlp_core.view import IGNORE, Pairing, View
from vlp_core.vocabulary import there


def transport(cost: Tensor, rows: Tensor, columns: Tensor, *, beta: float = 0.5, steps: int = 50) -> Tensor:
    """The plan that moves the words' mass to the places at the least cost, by inexact proximal point iterations.

    IPOT (Xie et al., 2018, arXiv:1802.04307, algorithm 1), one inner iteration a step; no gradient goes through it.

    Args:
        cost: float [M, L, N].
        rows, columns: bool [M, L] and [M, N]: which words and places there are; each has equal mass.

    Returns:
        float [M, L, N], 0 where there is nothing, summing to 1 a pair.
    """
    with torch.no_grad():
        there = rows[:, :, None] & columns[:, None, :]
        mass_row = rows.float() / rows.sum(dim=1, keepdim=True).clamp(min=1)
        mass_column = columns.float() / columns.sum(dim=1, keepdim=True).clamp(min=1)
        kernel = torch.exp(-cost.float() / beta) * there
        plan, column_scale = there.float(), mass_column
        for _ in range(steps):
            current = kernel * plan
            row_scale = mass_row / _never_0(torch.einsum("mln,mn->ml", current, column_scale))
            column_scale = mass_column / _never_0(torch.einsum("mln,ml->mn", current, row_scale))
            plan = row_scale[:, :, None] * current * column_scale[:, None, :]
        return plan


class WordPatchAlignment(nn.Module):
    """The transport's cost: small in pairs that match, large in those that do not.

    The passes are those of the matching objective with the same `negatives`. In fp32.
    """

    def __init__(self, negatives: Pairing) -> None:
        super().__init__()
        self.negatives = negatives

    def forward(self, view: View) -> Tensor:
        pairs, fused = view.pairs(self.negatives), view.fused(pairs=self.negatives)
        assert fused.text is not None and fused.image is not None
        with torch.autocast(fused.text.device.type, enabled=False):
            words, places = F.normalize(fused.text.float(), dim=-1), F.normalize(fused.image.float(), dim=-1)
            cost = 1 - words @ places.transpose(1, 2)
            there = self._words(view, pairs.text)
            seen = torch.ones(places.shape[:2], dtype=torch.bool, device=places.device)
            seen[:, : view.image().before] = False  # the state of the whole picture is no place of it
            if fused.image_mask is not None:
                seen &= fused.image_mask
            distance = (transport(cost, there, seen) * cost).sum(dim=(1, 2))
            sign = (pairs.label == 1).float() - (pairs.label == 0).float()
            return global_mean((sign * distance).sum(), (pairs.label != IGNORE).sum())

    def _words(self, view: View, rows: Tensor | None) -> Tensor:
        """bool [M, L]: the tokens that stand for words; what pads a text may be a word elsewhere."""
        vocabulary = view.model.vocabulary
        tokens = view.batch.tokens if rows is None else gather_texts(view.batch.tokens, vocabulary.pad)[rows]
        return there(tokens, vocabulary.end) & ~view.model.tables.special[tokens]


def _never_0(mass: Tensor) -> Tensor:
    return mass.clamp(min=torch.finfo(mass.dtype).tiny)
