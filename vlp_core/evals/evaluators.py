"""The evaluators: each is called with an encoder and yields (name, value), higher is better but for `…_chance`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vlp_core.errors import UserError
from vlp_core.evals import pictures, retrieval, zero_shot
from vlp_core.evals.classes import Classes
from vlp_core.evals.encoder import Encoder
from vlp_core.evals.names import QUERIES
from vlp_core.evals.sets import RetrievalSet, ZeroShotSet, read_retrieval, read_zero_shot
from vlp_core.identity import digest_of

Score = tuple[str, float]
Evaluator = Callable[[Encoder], Iterator[Score]]
Done = Callable[[int], None]

# Part of the data's digest: raised when the same data and model would score otherwise.
VERSION = "1"
CLASSES = "zero_shot.png"


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """`retrieval/text_to_image_r@k` and the way back; draws queries.png into `draw` where that is given."""

    data: RetrievalSet
    draw: Path | None = None
    queries: int = 6
    done: Done = lambda _: None

    def __call__(self, encoder: Encoder) -> Iterator[Score]:
        images = encoder.images(self.data.pictures, done=self.done)
        texts = encoder.texts(self.data.texts, done=self.done)
        scores = retrieval.Scores.of_vectors(images, texts)
        if self.draw:
            pictures.draw_queries(self.draw / QUERIES, self.data, scores, rows=self.queries)
        for name, value in retrieval.recalls_by(scores, self.data.pairs):
            yield f"retrieval/{name}", value


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """`zero_shot/top1` and the like, also by group; draws zero_shot.png into `draw` where that is given."""

    data: ZeroShotSet
    draw: Path | None = None
    done: Done = lambda _: None

    def __call__(self, encoder: Encoder) -> Iterator[Score]:
        weights = zero_shot.classifier(encoder, self.data.classes)
        images = encoder.images(self.data.pictures, done=self.done)
        if self.draw:
            pictures.draw_classes(self.draw / CLASSES, self.data, images, weights)
        ranks = zero_shot.ranks(images, weights, self.data.labels)
        for name, value in zero_shot.accuracies(ranks, self.data.groups, len(weights)):
            yield f"zero_shot/{name}", value


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The evaluation data of a run: what a model is scored on, and the digest by which two scores may be compared."""

    retrieval: RetrievalSet | None
    zero_shot: ZeroShotSet | None

    @classmethod
    def read(cls, *, retrieval: Path | None, zero_shot: Path | None, classes: Path | None) -> "Suite":
        """Read images folders, and the class names from a file or a folder that holds classes.json.

        Raises:
            UserError: neither set is given, labels without classes, or what reading a set says.
        """
        if retrieval is None and zero_shot is None:
            raise UserError("nothing to evaluate on: give a retrieval set, a zero-shot set, or both")
        if zero_shot is not None and classes is None:
            raise UserError(f"{zero_shot}: a zero-shot set needs a file of classes and templates; give that too")
        return cls(
            retrieval=None if retrieval is None else read_retrieval(retrieval),
            zero_shot=None
            if zero_shot is None or classes is None
            else read_zero_shot(zero_shot, Classes.read(classes)),
        )

    @property
    def digest(self) -> str:
        """Of all the data, and of the version of the evaluators."""
        sets = (self.retrieval, self.zero_shot)
        return digest_of([VERSION, *(None if data is None else data.digest for data in sets)])

    @property
    def work(self) -> int:
        """How many pictures and texts there are to encode."""
        texts = len(self.retrieval.pictures) + len(self.retrieval.texts) if self.retrieval else 0
        return texts + (len(self.zero_shot.pictures) if self.zero_shot else 0)

    def evaluators(self, *, draw: Path | None = None, queries: int = 6, done: Done = lambda _: None) -> list[Evaluator]:
        """One evaluator a set; `draw`: the folder for their pictures; `done` is told of each batch that is encoded."""
        evaluators: list[Evaluator] = []
        if self.retrieval:
            evaluators.append(Retrieval(data=self.retrieval, draw=draw, queries=queries, done=done))
        if self.zero_shot:
            evaluators.append(ZeroShot(data=self.zero_shot, draw=draw, done=done))
        return evaluators


def score(encoder: Encoder, evaluators: list[Evaluator]) -> dict[str, float]:
    """All that the evaluators say of a model."""
    return {name: value for evaluator in evaluators for name, value in evaluator(encoder)}
