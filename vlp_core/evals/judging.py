"""What a fusion says of pairs: how well it matches, and what it reads behind masks."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vlp_core.evals.encoder import Done, silent
from vlp_core.evals.reader import Reader
from vlp_core.evals.sets import RetrievalSet
from vlp_core.identity import generator, key_of
from vlp_core.nn.precision import in_fp32
from vlp_core.objectives.masked_language import MaskedLanguage, Masking
from vlp_core.objectives.matching import Matching
from vlp_core.sequence import Sequence
from vlp_core.view import IGNORE, View

Score = tuple[str, float]
HELD = 4096  # texts whose states are kept at once
HIDDEN = Masking(0.15, whole_words=True, hidden=1.0, random=0.0)  # all of them: none is answered by itself


@torch.inference_mode()
def matching(reader: Reader, data: RetrievalSet, done: Done = silent) -> Iterator[Score]:
    """`matching/accuracy`: is this picture of this text? Half of them are a stranger's, so that chance is a half."""
    if reader.objective(Matching) is None:
        return
    pairs, together = fair_pairs(data)
    odds = Judge(reader, data, done).match(pairs)
    right = ((odds > 0) == together) & odds.isfinite()
    yield "matching/accuracy", right.double().mean().item()
    yield "matching/accuracy_chance", 0.5


def fair_pairs(data: RetrievalSet) -> tuple[Tensor, Tensor]:
    """The first text of each picture, half of them with a picture that is a stranger to them: int64 [N, 2] of (text,
    picture), and whether they belong together, bool [N].

    Which, and with whom, is drawn by the pictures' identities: every system is asked the same, whichever negatives it
    was trained with, in batches of any size.
    """
    count = len(data.pictures)
    shown: dict[int, set[int]] = {}
    for text, picture in data.pairs.tolist():
        shown.setdefault(text, set()).add(picture)
    order = sorted(range(count), key=lambda number: key_of("matching", data.identities[number]))
    asked = list(range(count))
    for number in order[: count // 2]:
        own, draw = shown[data.first_texts[number]], generator("stranger", data.identities[number])
        while len(own) < count and asked[number] in own:
            asked[number] = int(draw.integers(count))
    together = [picture in shown[text] for text, picture in zip(data.first_texts, asked, strict=True)]
    return torch.tensor([data.first_texts, asked]).T, torch.tensor(together)


@torch.inference_mode()
def masked_words(reader: Reader, data: RetrievalSet, done: Done = silent) -> Iterator[Score]:
    """`masked_words/accuracy`: the share of the pieces of hidden words that are found, beside always saying the
    commonest one. Whole words are hidden and the picture is seen whole, however the system was trained."""
    objective = reader.objective(MaskedLanguage)
    if objective is None:
        return
    right, words = 0, []
    for batch in reader.pairs(data):
        with reader.autocast():
            found, targets = _read_behind_masks(objective, reader.view(batch))
        right += int((found == targets).sum())
        words.append(targets.cpu())
        done(len(batch))
    hidden = torch.cat(words) if words else torch.empty(0, dtype=torch.int64)
    asked = max(len(hidden), 1)
    yield "masked_words/accuracy", right / asked
    yield "masked_words/accuracy_chance", (int(hidden.bincount().max()) if len(hidden) else 0) / asked


def _read_behind_masks(objective: MaskedLanguage, view: View) -> tuple[Tensor, Tensor]:
    """What is read in the places that are hidden, and what stood there, int64 [K]."""
    targets = view.words(HIDDEN).targets
    states = view.fused(words=HIDDEN, attention=objective.attention).text
    assert states is not None
    hidden = targets != IGNORE
    return objective.head(states[hidden]).argmax(dim=1), targets[hidden]


class Judge:
    """How well texts and pictures match. Of those asked about, `HELD` texts are encoded at a time and a batch of
    pictures, for their states are large; `done` is told how many pairs are judged.

    The odds are those among pairs of which half match, whatever the share was that it learnt with.
    """

    def __init__(self, reader: Reader, data: RetrievalSet, done: Done = silent) -> None:
        objective = reader.objective(Matching)
        assert objective is not None
        self._reader, self._pictures, self._head, self._done = reader, data.pictures, objective.head, done
        self._learnt = objective.prior
        self._model, self._size = reader.model, reader.settings.batch_size
        self._tokens = reader.tokenizer(data.texts)

    @torch.inference_mode()
    def match(self, pairs: Tensor) -> Tensor:
        """int64 [P, 2] of (text, picture) -> log-odds of a match, float32 [P]."""
        with self._reader.autocast():
            return self._odds(pairs)

    def _odds(self, pairs: Tensor) -> Tensor:
        odds = torch.empty(len(pairs))
        for texts in pairs[:, 0].unique().split(HELD):
            read = _joined([self._read(part) for part in texts.split(self._size)])
            of_texts = _within(pairs[:, 0], texts)
            blocks = pairs[of_texts, 1].unique().split(self._size)
            bodies = (map(self._pictures.__getitem__, block.tolist()) for block in blocks)
            for pictures, pixels in zip(blocks, self._reader.streamed(bodies), strict=True):
                seen = self._model.see(self._model.normalise(pixels))
                of_both = of_texts[_within(pairs[of_texts, 1], pictures)]
                for part in of_both.split(self._size):
                    text, picture = pairs[part].T.contiguous()
                    rows = torch.searchsorted(texts, text), torch.searchsorted(pictures, picture)
                    odds[part] = self._match(read, seen, *(row.to(self._reader.device) for row in rows))
                    self._done(len(part))
        return odds

    def _read(self, texts: Tensor) -> Sequence:
        return self._model.read(self._tokens[texts].to(self._reader.device), self._model.vocabulary.encode)

    def _match(self, read: Sequence, seen: Sequence, text: Tensor, picture: Tensor) -> Tensor:
        """Of these rows of the states."""
        pooled = self._model.fuse(seen.rows(picture), read.rows(text)).pooled
        assert pooled is not None
        logits = in_fp32(self._head, pooled)
        odds: Tensor = (logits[:, 1] - logits[:, 0] - self._learnt).cpu()
        return odds


def _within(numbers: Tensor, block: Tensor) -> Tensor:
    """Where the numbers lie between the first and the last of a block."""
    return ((numbers >= block[0]) & (numbers <= block[-1])).nonzero()[:, 0]


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
