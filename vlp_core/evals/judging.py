"""What a fusion says of pairs: how well it matches, what it reads behind masks, and how it ranks."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vlp_core.evals import retrieval
from vlp_core.evals.reader import Reader
from vlp_core.evals.sets import Pictures, RetrievalSet
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.objectives.matching import Matching, Shuffled
from vlp_core.sequence import Sequence

Score = tuple[str, float]
FAIR = Shuffled(0.5)
"""The negatives that every system is judged by, whichever it was trained with."""


@torch.inference_mode()
def matching(reader: Reader, data: RetrievalSet) -> Iterator[Score]:
    """`matching/accuracy`: is this picture of this text? Half of them are a stranger's, so that chance is a half."""
    objective = reader.objective(Matching)
    if objective is None:
        return
    right, asked = 0, 0
    for batch in reader.pairs(data):
        view = reader.view(batch)
        pooled = view.fused(pairs=FAIR).pooled
        label = view.pairs(FAIR).label
        right += int((objective.head(pooled).argmax(dim=1) == label).sum())
        asked += len(label)
    yield "matching/accuracy", right / max(asked, 1)
    yield "matching/accuracy_chance", 0.5


@torch.inference_mode()
def masked_words(reader: Reader, data: RetrievalSet) -> Iterator[Score]:
    """`masked_words/accuracy`: the share of hidden words that are found, beside always saying the commonest one."""
    objective = reader.objective(MaskedLanguage)
    if objective is None:
        return
    right, words = 0, []
    for batch in reader.pairs(data):
        logits, targets = objective.predict(reader.view(batch))
        right += int((logits.argmax(dim=1) == targets).sum())
        words.append(targets.cpu())
    hidden = torch.cat(words) if words else torch.empty(0, dtype=torch.int64)
    asked = max(len(hidden), 1)
    yield "masked_words/accuracy", right / asked
    yield "masked_words/accuracy_chance", (int(hidden.bincount().max()) if len(hidden) else 0) / asked


class Judge:
    """Probabilities that texts and pictures match, each encoded once."""

    @torch.inference_mode()
    def __init__(self, reader: Reader, data: RetrievalSet) -> None:
        objective = reader.objective(Matching)
        assert objective is not None
        self._model, self._head, self._size = reader.model, objective.head, reader.settings.batch_size
        first, self._device = self._model.vocabulary.encode, reader.device
        self._images = [
            self._model.see(self._model.normalise(reader.pixels(part))) for part in _parts(data.pictures, self._size)
        ]
        self._texts = []
        for start in range(0, len(data.texts), self._size):
            tokens = reader.tokenizer(data.texts[start : start + self._size]).to(self._device)
            if first is not None:
                tokens[:, 0] = first
            self._texts.append(self._model.text(tokens))

    @torch.inference_mode()
    def match(self, pairs: Tensor) -> Tensor:
        """int64 [P, 2] of (text, picture) -> probabilities float32 [P]."""
        found = torch.empty(len(pairs))
        for start in range(0, len(pairs), self._size):
            part = pairs[start : start + self._size]
            read = _rows(self._texts, part[:, 0], self._size)
            seen = _rows(self._images, part[:, 1], self._size)
            pooled = self._model.fuse(seen, read).pooled
            found[start : start + len(part)] = self._head(pooled).float().softmax(dim=1)[:, 1].cpu()
        return found


def rank_again(reader: Reader, data: RetrievalSet, images: Tensor, texts: Tensor, candidates: int) -> Tensor:
    """Scores float32 [M, N] of texts and pictures: the dual encoder's best `candidates` of each by the fusion, above
    all others, which stay in the dual encoder's order.

    Args:
        images, texts: the dual encoder's unit vectors [N, D] and [M, D].
    """
    near = texts @ images.T
    chosen = torch.zeros_like(near, dtype=torch.bool)
    chosen.scatter_(1, near.topk(min(candidates, near.shape[1]), dim=1).indices, True)
    chosen.scatter_(0, near.topk(min(candidates, near.shape[0]), dim=0).indices, True)
    pairs = chosen.nonzero()
    scores = near - 3  # below any probability
    scores[pairs[:, 0], pairs[:, 1]] = Judge(reader, data).match(pairs)
    return scores


def full_matrix(reader: Reader, data: RetrievalSet) -> Tensor:
    """The fusion's probability of every pair, float32 [M, N]."""
    texts, images = len(data.texts), len(data.pictures)
    pairs = torch.cartesian_prod(torch.arange(texts), torch.arange(images))
    return Judge(reader, data).match(pairs).view(texts, images)


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


def retrieved(reader: Reader, data: RetrievalSet) -> Iterator[Score]:
    """`retrieval/…_r@k`: of the dual encoder, ranked again by the fusion where there is one; of a fusion alone on the
    first pictures, every pair of which it scores."""
    fuses = reader.objective(Matching) is not None
    if reader.system.compares:
        encoder = reader.encoder()
        images, texts = encoder.images(data.pictures), encoder.texts(data.texts)
        for name, value in retrieval.recalls(images, texts, data.pairs):
            yield f"{'retrieval_dual' if fuses else 'retrieval'}/{name}", value
        if fuses:
            scores = rank_again(reader, data, images, texts, reader.settings.candidates)
            for name, value in retrieval.recalls_by(scores, data.pairs):
                yield f"retrieval/{name}", value
    elif fuses:
        few = first_pictures(data, reader.settings.matrix)
        for name, value in retrieval.recalls_by(full_matrix(reader, few), few.pairs):
            yield f"retrieval/{name}", value


def _parts(pictures: Pictures, size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(pictures), size):
        yield [pictures[number] for number in range(start, min(start + size, len(pictures)))]


def _rows(parts: list[Sequence], index: Tensor, size: int) -> Sequence:
    """Rows of sequences that were made `size` at a time; texts of several lengths are padded."""
    chosen = [parts[number // size].rows(torch.tensor([number % size])) for number in index.tolist()]
    longest = max(part.states.shape[1] for part in chosen)
    states = torch.cat([_longer(part.states, longest) for part in chosen])
    if chosen[0].mask is None:
        return Sequence(states)
    return Sequence(states, torch.cat([_longer(part.mask, longest) for part in chosen if part.mask is not None]))


def _longer(rows: Tensor, length: int) -> Tensor:
    spare = length - rows.shape[1]
    return rows if not spare else torch.nn.functional.pad(rows, [0, 0] * (rows.ndim - 2) + [0, spare])
