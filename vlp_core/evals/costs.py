"""What a pair costs: the embedding of its picture timed apart from all the rest (ViLT, arXiv:2102.03334, figure 1)."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vlp_core.batch import Batch
from vlp_core.dual_encoder import DualEncoder
from vlp_core.evals import retrieval
from vlp_core.evals.encoder import Encoder
from vlp_core.evals.ranking import full_matrix, rank_again
from vlp_core.evals.reader import Reader
from vlp_core.evals.sets import RetrievalSet
from vlp_core.objectives.captioning import Captioning
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.objectives.matching import Matching
from vlp_core.system import FOR_TRAINING, System


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one forward pass in evaluation mode, milliseconds a pair."""

    parameters: int
    """Of the finished system; see `parameter_count`."""
    embedding_ms: float
    """Pixels to what the fusion takes: patches or a grid for a model of one stream, a whole tower for one of two."""
    rest_ms: float
    """Words, and fusion or comparison."""


@torch.inference_mode()
def cost_of(system: System, batch: Batch, *, repeats: int = 9) -> Cost:
    """The median over `repeats` passes of `batch`, after one that does not count."""
    model, pairs = system.model, len(batch.tokens)
    pixels = model.normalise(batch.pixels)
    seen: Callable[[], object]
    rest: Callable[[], object]
    if isinstance(model, DualEncoder):
        seen, rest = (lambda: model.encode_image(pixels)), (lambda: model.encode_text(batch.tokens))
    else:
        states, attention = model.see(pixels), _attention(system)
        seen, rest = (lambda: model.see(pixels)), (lambda: model.fuse(states, model.text(batch.tokens), attention))
    return Cost(
        parameters=parameter_count(system),
        embedding_ms=_median_ms(seen, repeats, pixels.device) / pairs,
        rest_ms=_median_ms(rest, repeats, pixels.device) / pairs,
    )


def parameter_count(system: System) -> int:
    """Without twins, and without the statistics that batch norm keeps; what is shared counts once."""
    kept = [part for part in system.modules() if isinstance(part, FOR_TRAINING)]
    apart = {id(parameter) for part in kept for parameter in part.parameters()}
    return sum(parameter.numel() for parameter in system.parameters() if id(parameter) not in apart)


def _attention(system: System) -> str:
    """How a pair goes through the fusion: as what is matched or read; as what is written, where that is all."""
    reads = any(isinstance(part, Matching | MaskedLanguage) for part in system.modules())
    writes = next((part.directions[0] for part in system.modules() if isinstance(part, Captioning)), None)
    return "full" if reads or writes is None else writes


def _median_ms(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    times = []
    for _ in range(repeats + 1):
        began = _now(device)
        call()
        times.append(_now(device) - began)
    return 1000 * statistics.median(times[1:])


def _now(device: torch.device) -> float:
    """Seconds, when the device has done what it was given: a GPU works on while Python goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Retrieval from text to image by a fusion, in one of two ways."""

    recall_at_1: float
    seconds: float


def two_rankings(reader: Reader, data: RetrievalSet, dual: Encoder) -> tuple[Ranked, Ranked]:
    """The fusion over the candidates of a dual encoder, whose time counts, and over every pair."""
    began = _now(reader.device)
    images, texts = dual.images(data.pictures), dual.texts(data.texts)
    some = rank_again(reader, data, images, texts, reader.settings.candidates)
    between = _now(reader.device)
    whole = retrieval.Scores.of(full_matrix(reader, data))
    ended = _now(reader.device)
    first = next(iter(retrieval.recalls_by(some, data.pairs)))[1]
    every = next(iter(retrieval.recalls_by(whole, data.pairs)))[1]
    return Ranked(recall_at_1=first, seconds=between - began), Ranked(recall_at_1=every, seconds=ended - between)
