"""Ranks and recalls against a plain reference, and what must hold whatever the vectors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from vlp_core.evals.names import RECALL_CUTS as CUTS
from vlp_core.evals.retrieval import Ranking, rank, recalls


def drawn(seed: int, queries: int, gallery: int, *, levels: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors and pairs; `levels`: vectors out of so many, so that ties abound."""
    generator = torch.Generator().manual_seed(seed)
    pool = normalize(torch.randn(levels or queries + gallery, 8, generator=generator), dim=-1)
    pick = torch.randint(len(pool), (queries + gallery,), generator=generator) if levels else torch.arange(len(pool))
    pairs = {
        (query, int(torch.randint(gallery, (1,), generator=generator))) for query in range(queries) for _ in range(3)
    }
    shuffled = torch.tensor(sorted(pairs))[torch.randperm(len(pairs), generator=generator)]
    return pool[pick[:queries]], pool[pick[queries:]], shuffled


def naive(queries: Tensor, gallery: Tensor, pairs: Tensor) -> list[int]:
    """For each query, by sorting: the wrong ones first among equals."""
    ranks = []
    for number, query in enumerate(queries):
        right = {answer for asked, answer in pairs.tolist() if asked == number}
        order = sorted(range(len(gallery)), key=lambda n: (-round(float(gallery[n] @ query), 5), n in right))
        first = next(place for place, answer in enumerate(order) if answer in right)
        ranks.append(first)
    return ranks


@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 12),
    gallery=st.integers(1, 15),
    levels=st.sampled_from([None, 1, 2, 5]),
    block=st.integers(1, 13),
)
@settings(max_examples=60, deadline=None)
def test_ranks_are_those_of_a_pessimistic_sort_whatever_the_block(
    seed: int, queries: int, gallery: int, levels: int | None, block: int
) -> None:
    asked, answers, pairs = drawn(seed, queries, gallery, levels=levels)
    assert rank(asked, answers, pairs, block=block).ranks.tolist() == naive(asked, answers, pairs)


@pytest.mark.parametrize("vector", [torch.ones(4) / 2, torch.full((4,), torch.nan)], ids=["one vector", "nan"])
def test_a_collapsed_model_finds_nothing(vector: Tensor) -> None:
    """Equal scores for everything must not read as 100 %."""
    pairs = torch.stack([torch.arange(50), torch.arange(50) // 2], 1)
    scores = dict(recalls(vector.expand(25, 4), vector.expand(50, 4), pairs))
    assert all(scores[f"{way}_r@{k}"] == 0 for way in ("text_to_image", "image_to_text") for k in CUTS)


def test_nearly_equal_vectors_are_ties() -> None:
    """Rounding noise of a collapsed model must not order its answers."""
    noise = torch.randn(40, 16, generator=torch.Generator().manual_seed(0)) * 1e-8
    vectors = normalize(torch.ones(40, 16) + noise, dim=-1)
    ranking = rank(vectors, vectors.flip(0), torch.arange(40)[:, None].expand(40, 2))
    assert ranking.recall(10) == 0


def test_every_caption_of_a_picture_counts_and_so_does_every_picture_of_a_caption() -> None:
    pictures = torch.eye(4)
    texts = torch.stack([pictures[1], pictures[0], pictures[3]])
    # text 0 lies at picture 1 and describes 0 and 1; text 1 lies at 0 and describes 2; text 2 describes 3
    scores = dict(recalls(pictures[:4], texts, torch.tensor([[0, 0], [0, 1], [1, 2], [2, 3]])))
    assert scores["text_to_image_r@1"] == pytest.approx(2 / 3)
    assert scores["image_to_text_r@1"] == pytest.approx(2 / 4)


def test_chance_is_what_random_vectors_reach() -> None:
    """Against 4,000 random orders, with one to three right answers a query."""
    asked, answers, pairs = drawn(3, 4000, 30)
    ranking = rank(asked, answers, pairs)
    for k in CUTS:
        assert ranking.chance(k) == pytest.approx(ranking.recall(k), abs=0.03)
    assert Ranking(ranks=torch.zeros(1), right=torch.ones(1, dtype=torch.int64), gallery=4).chance(10) == 1


def test_recall_grows_with_k_and_right_vectors_are_found() -> None:
    asked, answers, pairs = drawn(5, 60, 40)
    scores = dict(recalls(answers, asked, pairs))
    assert scores["text_to_image_r@1"] <= scores["text_to_image_r@5"] <= scores["text_to_image_r@10"]
    vectors = normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(1)), dim=-1)
    right = dict(recalls(vectors, vectors, torch.arange(40)[:, None].expand(40, 2)))
    assert right["text_to_image_r@1"] == right["image_to_text_r@1"] == 1


def test_a_query_without_an_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="right answer"):
        rank(torch.eye(2), torch.eye(2), torch.tensor([[0, 1]]))
