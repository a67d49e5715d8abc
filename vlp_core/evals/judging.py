"""What a fusion says of pairs: how well it matches, what it reads behind masks, and how it ranks."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vlp_core.evals import retrieval
from vlp_core.evals.encoder import Encoder
from vlp_core.evals.reader import Reader
from vlp_core.evals.sets import RetrievalSet
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
    """How well texts and pictures match, each encoded once; pictures a batch at a time, for their states are large."""

    @torch.inference_mode()
    def __init__(self, reader: Reader, data: RetrievalSet) -> None:
        objective = reader.objective(Matching)
        assert objective is not None
        self._reader, self._pictures, self._head = reader, data.pictures, objective.head
        self._model, self._size = reader.model, reader.settings.batch_size
        tokens = reader.tokenizer(data.texts).to(reader.device)
        if self._model.vocabulary.encode is not None:
            tokens[:, 0] = self._model.vocabulary.encode
        self._texts = _joined([self._model.text(part) for part in tokens.split(self._size)])

    @torch.inference_mode()
    def match(self, pairs: Tensor) -> Tensor:
        """int64 [P, 2] of (text, picture) -> log-odds of a match, float32 [P]."""
        odds = torch.empty(len(pairs))
        for start in range(0, len(self._pictures), self._size):
            end = min(start + self._size, len(self._pictures))
            asked = ((pairs[:, 1] >= start) & (pairs[:, 1] < end)).nonzero()[:, 0]
            if len(asked):
                odds[asked] = self._match(start, end, pairs[asked])
        return odds

    def _match(self, start: int, end: int, pairs: Tensor) -> Tensor:
        """Of pairs whose pictures are `start` to `end`."""
        pixels = self._reader.pixels(self._pictures[number] for number in range(start, end))
        seen = self._model.see(self._model.normalise(pixels))
        found = []
        for part in pairs.to(seen.states.device).split(self._size):
            pooled = self._model.fuse(seen.rows(part[:, 1] - start), self._texts.rows(part[:, 0])).pooled
            logits = self._head(pooled).float()
            found.append((logits[:, 1] - logits[:, 0]).cpu())
        return torch.cat(found)


def _joined(parts: list[Sequence]) -> Sequence:
    """Sequences of one length as one batch."""
    masks, wholes = (
        [part for part in found if part is not None]
        for found in ((part.mask for part in parts), (part.whole for part in parts))
    )
    return parts[0]._replace(
        states=torch.cat([part.states for part in parts]),
        mask=torch.cat(masks) if masks else None,
        whole=torch.cat(wholes) if wholes else None,
    )


def rank_again(reader: Reader, data: RetrievalSet, near: Tensor, candidates: int) -> Tensor:
    """Scores float32 [M, N] of texts and pictures: the dual encoder's best `candidates` of each by the fusion, above
    all others, which stay in the dual encoder's order (ALBEF, arXiv:2107.07651, section 4).

    Args:
        near: the dual encoder's cosines [M, N].
    """
    chosen = torch.zeros_like(near, dtype=torch.bool)
    chosen.scatter_(1, near.topk(min(candidates, near.shape[1]), dim=1).indices, True)
    chosen.scatter_(0, near.topk(min(candidates, near.shape[0]), dim=0).indices, True)
    pairs = chosen.nonzero()
    odds = Judge(reader, data).match(pairs)
    scores = near + (odds.min() - 3)  # below whatever the fusion has said
    scores[pairs[:, 0], pairs[:, 1]] = odds
    return scores


def full_matrix(reader: Reader, data: RetrievalSet) -> Tensor:
    """The fusion's log-odds of every pair, float32 [M, N]."""
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


def retrieved(reader: Reader, data: RetrievalSet, dual: Encoder | None = None) -> Iterator[Score]:
    """`retrieval/…_r@k`: of the system's own two towers or of `dual`, whose best a fusion ranks again; where there are
    neither, of the fusion on the first pictures, every pair of which it scores."""
    fuses = reader.objective(Matching) is not None
    encoder = reader.encoder() if reader.system.compares else dual if fuses else None
    if encoder is not None:
        images, texts = encoder.images(data.pictures), encoder.texts(data.texts)
        if not fuses or encoder is not dual:
            for name, value in retrieval.recalls(images, texts, data.pairs):
                yield f"{'retrieval_dual' if fuses else 'retrieval'}/{name}", value
        if fuses:
            scores = rank_again(reader, data, texts @ images.T, reader.settings.candidates)
            for name, value in retrieval.recalls_by(scores, data.pairs):
                yield f"retrieval/{name}", value
    elif fuses:
        few = first_pictures(data, reader.settings.matrix)
        for name, value in retrieval.recalls_by(full_matrix(reader, few), few.pairs):
            yield f"retrieval/{name}", value
