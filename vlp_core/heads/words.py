"""Which word stands where."""

from torch import Tensor, nn

from vlp_core.nn.blocks import initialise
from vlp_core.vocabulary import Vocabulary


class WordHead(nn.Module):
    """BERT's: dense, GELU, norm, and a score for every token: states [..., dim] -> logits [..., V].

    tied: the embedding whose weights give the scores; without one the head has weights of its own.
    """

    def __init__(
        self, dim: int, vocabulary: Vocabulary, *, tied: nn.Embedding | None = None, eps: float = 1e-12
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.activation = nn.GELU()
        self.scores = nn.Linear(dim, vocabulary.size)
        initialise(self, dim)
        if tied is not None:
            self.scores.weight = tied.weight

    def forward(self, states: Tensor) -> Tensor:
        return self.scores(self.norm(self.activation(self.dense(states))))


class WordScores(nn.Linear):
    """A score for every token by one linear map, as decoders have it: states [..., dim] -> logits [..., V].

    tied: the embedding whose weights give the scores.
    """

    def __init__(
        self, dim: int, vocabulary: Vocabulary, *, tied: nn.Embedding | None = None, bias: bool = True
    ) -> None:
        super().__init__(dim, vocabulary.size, bias=bias)
        initialise(self, dim)
        if tied is not None:
            self.weight = tied.weight
