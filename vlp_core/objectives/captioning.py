"""Language modelling of the caption with the picture in sight: forward (CoCa, BLIP), or in both directions (VirTex)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.gather import global_mean
from vlp_core.view import IGNORE, View, Words
from vlp_core.vocabulary import Vocabulary, WordTables, there

FORWARD, BACKWARD = "causal", "backward"


@dataclass(frozen=True)
class Reversed:
    """The words of a text from the last to the first, between its start and its end."""

    def apply(self, tokens: Tensor, _keys: Tensor, vocabulary: Vocabulary, _tables: WordTables) -> Words:
        length = there(tokens, vocabulary.end).sum(dim=1, keepdim=True)
        place = torch.arange(tokens.shape[1], device=tokens.device)[None]
        inside = (place > 0) & (place < length - 1)
        turned = tokens.gather(1, torch.where(inside, length - 1 - place, place))
        return Words(turned, turned)


class Captioning(nn.Module):
    """Cross-entropy of each token given the picture and the tokens before it; in two directions their sum."""

    def __init__(self, head: nn.Module, *, smoothing: float = 0.0, directions: tuple[str, ...] = (FORWARD,)) -> None:
        super().__init__()
        self.head, self.smoothing, self.directions = head, smoothing, directions

    def forward(self, view: View) -> Tensor:
        return torch.stack([self._loss(view, direction) for direction in self.directions]).sum()

    def _loss(self, view: View, direction: str) -> Tensor:
        logits, targets = self.predict(view, direction)
        loss = F.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), label_smoothing=self.smoothing, reduction="sum"
        )
        return global_mean(loss, (targets != IGNORE).sum())

    def predict(self, view: View, direction: str = FORWARD) -> tuple[Tensor, Tensor]:
        """Logits [B, L − 1, V] and the tokens that follow, int64 [B, L − 1], IGNORE after the end."""
        change = Reversed() if direction == BACKWARD else None
        tokens = view.batch.tokens if change is None else view.words(change).tokens
        states = view.fused(words=change, attention=direction).text
        assert states is not None
        following = torch.where(there(tokens, view.model.vocabulary.end), tokens, IGNORE)[:, 1:]
        return self.head(states[:, :-1]), following
