"""Masked image modelling: the pixels of hidden patches are told from those that are seen (MAE, arXiv:2111.06377)."""

import torch
from torch import Tensor, nn

from vlp_core.encoders.patches import cut
from vlp_core.nn.gather import global_mean
from vlp_core.view import RandomPlaces, TextChange, View


class MaskedImage(nn.Module):
    """The mean squared error of the hidden patches' pixels, each patch less its mean by its deviation (MAE, section 3).

    words: how the texts are changed in the same pass.
    """

    def __init__(self, decoder: nn.Module, hidden: RandomPlaces, *, patch: int, words: TextChange | None) -> None:
        super().__init__()
        self.decoder, self.hidden, self.patch, self.words = decoder, hidden, patch, words

    def forward(self, view: View) -> Tensor:
        seen, unseen = view.places(self.hidden)
        states = view.fused(words=self.words, image=self.hidden).image
        pixels = self.decoder(states, seen)  # [B, N, 3 · patch²]
        rows = unseen[:, :, None].expand(-1, -1, pixels.shape[-1])
        wanted = self._targets(view).gather(1, rows)
        error = (pixels.gather(1, rows).float() - wanted).pow(2).mean(dim=-1)
        return global_mean(error.sum(), torch.full((), error.numel(), device=error.device))

    def _targets(self, view: View) -> Tensor:
        patches = cut(view.pixels(), self.patch)
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()
