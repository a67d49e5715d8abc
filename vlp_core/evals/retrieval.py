"""Text-to-image and image-to-text retrieval, with several captions a picture.

Pictures are known by their identity and so are texts: two uids of one picture are one picture with the captions of
both, and a text that describes several pictures is one query with several right answers. R@k is the share of queries
with a right answer among the first k (Karpathy & Fei-Fei, 2015). Ties go against the model: a wrong answer as near as
the best right one counts as found before it, so that a model that gives one vector for everything finds nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from vlp_core.evals.names import DIRECTIONS, RECALL_CUTS, recall_name

# Dot products of float32 unit vectors differ by this much from one order of summation to another: no difference at all.
TIE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """How well M texts and N pictures go together, a block at a time: of many, the whole matrix is large.

    of_texts   from `start` to `end` of the texts: float32 [end − start, N]
    of_images  from `start` to `end` of the pictures: float32 [end − start, M]
    """

    texts: int
    images: int
    of_texts: Callable[[int, int], Tensor]
    of_images: Callable[[int, int], Tensor]

    @classmethod
    def of(cls, matrix: Tensor) -> "Scores":
        """A matrix [M, N]."""
        texts, images = matrix.shape
        return cls(
            texts=texts,
            images=images,
            of_texts=lambda start, end: matrix[start:end],
            of_images=lambda start, end: matrix.T[start:end],
        )

    @classmethod
    def of_vectors(cls, images: Tensor, texts: Tensor) -> "Scores":
        """The cosines of unit vectors [N, D] and [M, D]."""
        return cls(
            texts=len(texts),
            images=len(images),
            of_texts=lambda start, end: texts[start:end] @ images.T,
            of_images=lambda start, end: images[start:end] @ texts.T,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """What one direction of retrieval gave.

    ranks: int64 [Q], the rank of the best right answer: 0 where no wrong one is found before it.
    right: int64 [Q], the number of right answers there are.
    gallery: the number of answers to choose from.
    """

    ranks: Tensor
    right: Tensor
    gallery: int

    def recall(self, k: int) -> float:
        """R@k."""
        return (self.ranks < k).double().mean().item()

    def chance(self, k: int) -> float:
        """What R@k a random order gives: for a query with m right answers among N, 1 - C(N - m, k) / C(N, k)."""
        counts = torch.bincount(self.right).tolist()
        orders = comb(self.gallery, min(k, self.gallery))
        missed = sum(count * (comb(self.gallery - m, min(k, self.gallery)) / orders) for m, count in enumerate(counts))
        return 1 - missed / len(self.right)


def rank(queries: Tensor, gallery: Tensor, pairs: Tensor, *, block: int = 512) -> Ranking:
    """Rank a gallery for each query, `block` queries at a time.

    Args:
        queries: unit vectors float32 [Q, D].
        gallery: unit vectors float32 [N, D].
        pairs: int64 [P, 2], (query, right answer); each pair once, each query at least once.
    """
    return rank_by(lambda start, end: queries[start:end] @ gallery.T, len(queries), len(gallery), pairs, block=block)


def rank_by(
    scores_of: Callable[[int, int], Tensor], queries: int, gallery: int, pairs: Tensor, *, block: int = 512
) -> Ranking:
    """As `rank`, by any scores: `scores_of(start, end)` gives those of these queries, [end − start, N]."""
    right = torch.bincount(pairs[:, 0], minlength=queries)
    if not queries or not right.all():
        raise ValueError("each query needs a right answer")
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    ranks = torch.empty(queries, dtype=torch.int64)
    for start in range(0, queries, block):
        end = min(start + block, queries)
        mine = pairs[(pairs[:, 0] >= start) & (pairs[:, 0] < end)]
        row, answer = mine[:, 0] - start, mine[:, 1]
        scores = scores_of(start, end)
        found = scores[row, answer]
        best = torch.full((end - start,), -torch.inf).scatter_reduce(0, row, found, "amax") - TIE
        # Not `scores >= best`: a NaN must count against the model.
        ahead = (~(scores < best[:, None])).sum(1)
        ranks[start:end] = ahead.index_add(0, row, -(~(found < best[row])).long())
    return Ranking(ranks=ranks, right=right, gallery=gallery)


def recalls(images: Tensor, texts: Tensor, pairs: Tensor) -> Iterator[tuple[str, float]]:
    """R@1, 5 and 10 in both directions with chance beside, from unit vectors [N, D] and [M, D].

    Args:
        pairs: int64 [P, 2], (text, picture) that belong together.
    """
    yield from recalls_by(Scores.of_vectors(images, texts), pairs)


def recalls_by(scores: Scores, pairs: Tensor) -> Iterator[tuple[str, float]]:
    """As `recalls`, by any scores."""
    to_image = rank_by(scores.of_texts, scores.texts, scores.images, pairs)
    to_text = rank_by(scores.of_images, scores.images, scores.texts, pairs.flip(1))
    for direction, ranking in zip(DIRECTIONS, (to_image, to_text), strict=True):
        for k in RECALL_CUTS:
            yield recall_name(direction, k), ranking.recall(k)
            yield f"{recall_name(direction, k)}_chance", ranking.chance(k)
