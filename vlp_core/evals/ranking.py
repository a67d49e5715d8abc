"""How a system ranks: by its towers, by its fusion the best of those, or by its fusion alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from vlp_core.evals import retrieval
from vlp_core.evals.encoder import Done, Encoder, silent
from vlp_core.evals.judging import Judge
from vlp_core.evals.names import BY_TOWERS, ON_FIRST, QUERIES, RETRIEVAL
from vlp_core.evals.pictures import draw_queries
from vlp_core.evals.reader import Reader
from vlp_core.evals.retrieval import Scores
from vlp_core.evals.sets import RetrievalSet
from vlp_core.objectives.matching import Matching

BLOCK = 512  # queries whose nearest are looked for at once


def rank_again(
    reader: Reader, data: RetrievalSet, images: Tensor, texts: Tensor, candidates: int, done: Done = silent
) -> Scores:
    """The dual encoder's best `candidates` of each text and of each picture by the fusion, above all others, which stay
    in the dual encoder's order (ALBEF, arXiv:2107.07651, section 4).

    Args:
        images, texts: the dual encoder's unit vectors [N, D] and [M, D].
    """
    pairs = torch.cat([_best(texts, images, candidates), _best(images, texts, candidates).flip(1)]).unique(dim=0)
    odds = Judge(reader, data, done).match(pairs)
    return Scores(
        texts=len(texts),
        images=len(images),
        of_texts=_laid_over(texts, images, pairs, odds),
        of_images=_laid_over(images, texts, pairs.flip(1), odds),
    )


def _best(queries: Tensor, gallery: Tensor, count: int) -> Tensor:
    """The nearest `count` of each query, int64 [P, 2] of (query, answer)."""
    found = [(part @ gallery.T).topk(min(count, len(gallery)), dim=1).indices for part in queries.split(BLOCK)]
    answers = torch.cat(found)
    return torch.stack([torch.arange(len(queries))[:, None].expand_as(answers), answers], dim=2).flatten(0, 1)


def _laid_over(queries: Tensor, gallery: Tensor, pairs: Tensor, odds: Tensor) -> Callable[[int, int], Tensor]:
    """Cosines, below whatever the fusion has said, with the fusion's log-odds in the place of these pairs."""
    lowest = odds.min() - 3

    def block(start: int, end: int) -> Tensor:
        scores = queries[start:end] @ gallery.T + lowest
        mine = (pairs[:, 0] >= start) & (pairs[:, 0] < end)
        scores[pairs[mine, 0] - start, pairs[mine, 1]] = odds[mine]
        return scores

    return block


def full_matrix(reader: Reader, data: RetrievalSet, done: Done = silent) -> Tensor:
    """The fusion's log-odds of every pair, float32 [M, N]."""
    texts, images = len(data.texts), len(data.pictures)
    pairs = torch.cartesian_prod(torch.arange(texts), torch.arange(images))
    return Judge(reader, data, done).match(pairs).view(texts, images)


def first_pictures(data: RetrievalSet, count: int) -> RetrievalSet:
    """The set of the first pictures and their texts."""
    if len(data.pictures) <= count:
        return data
    pairs = data.pairs[data.pairs[:, 1] < count]
    kept = sorted(set(pairs[:, 0].tolist()))
    place = {text: number for number, text in enumerate(kept)}
    return RetrievalSet(
        pictures=data.pictures.first(count),
        identities=data.identities[:count],
        texts=[data.texts[text] for text in kept],
        pairs=torch.tensor([(place[text], picture) for text, picture in pairs.tolist()]),
    )


def retrieved(
    reader: Reader,
    data: RetrievalSet,
    dual: Encoder | None = None,
    *,
    draw: Path | None = None,
    done: Done = silent,
) -> Iterator[tuple[str, float]]:
    """`retrieval/…_r@k`: of the system's own two towers or of `dual`, whose best a fusion ranks again; where there are
    neither, `retrieval_first/…_r@k` of the fusion on the first pictures, every pair of which it scores."""
    fuses = reader.objective(Matching) is not None
    encoder = reader.encoder() if reader.system.compares else dual if fuses else None
    name = RETRIEVAL
    if encoder is not None:
        images, texts = encoder.images(data.pictures, done=done), encoder.texts(data.texts, done=done)
        scores = Scores.of_vectors(images, texts)
        if fuses and encoder is not dual:
            yield from _told(BY_TOWERS, scores, data)
        if fuses:
            scores = rank_again(reader, data, images, texts, reader.settings.candidates, done)
    elif fuses:
        name, data = ON_FIRST, first_pictures(data, reader.settings.matrix)
        scores = Scores.of(full_matrix(reader, data, done))
    else:
        return
    if draw:
        draw_queries(draw / QUERIES, data, scores, rows=reader.settings.queries)
    yield from _told(name, scores, data)


def _told(kind: str, scores: Scores, data: RetrievalSet) -> Iterator[tuple[str, float]]:
    for name, value in retrieval.recalls_by(scores, data.pairs):
        yield f"{kind}/{name}", value
