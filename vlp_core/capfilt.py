"""CapFilt (BLIP, Li et al., 2022, arXiv:2201.12086, section 3.3): captions are written for pictures of the web, and of
these and the web's own those are kept that match their picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import torch
from torch import Tensor

from vlp_core.data.tokens import Tokenizer
from vlp_core.errors import UserError
from vlp_core.generate import Nucleus, generate
from vlp_core.identity import key_of
from vlp_core.model import VLModel
from vlp_core.nn.evaluating import evaluating
from vlp_core.objectives.matching import Matching
from vlp_core.objectives.weighted import Weighted
from vlp_core.system import System

WEB, SYNTHETIC = "web", "synthetic"
KEPT = pa.schema([("uid", pa.string()), ("captions", pa.list_(pa.string())), ("source", pa.string())])


@dataclass(frozen=True, kw_only=True)
class CapFilt:
    """How captions are written, and which are kept."""

    p: float = 0.9
    """Mass of the nucleus that words are drawn from."""
    least: float = 0.5
    """Probability of a match below which a caption is dropped."""
    longest: int | None = None
    """Tokens of the longest caption that is written; none: as the vocabulary has it."""
    seed: int = 0
    """Of what is drawn; each picture's draws are its own."""

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1 or not 0 <= self.least <= 1:
            raise UserError(f"p {self.p}, least {self.least}: give a mass over 0 and up to 1, and a probability")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """B pictures from the web: pixels uint8 [B, 3, H, W], and the name and the captions of each."""

    pixels: Tensor
    uid: list[str]
    captions: list[list[str]]


def bootstrap(
    captioner: System, judge: System, pictures: Iterable[Pictures], tokenizer: Tokenizer, settings: CapFilt
) -> pa.Table:
    """The captions that are kept: one row a picture and source ("web", "synthetic") that has any, in the order given.

    Either system has the tokenizer's vocabulary; in the paper they are two that were tuned apart, the captioner by its
    captioning objective and the judge by its matching objective. UserError where one lacks what is asked of it.
    """
    rows = [row for some in pictures for row in _kept(captioner, judge, some, tokenizer, settings)]
    return pa.Table.from_pylist(rows, schema=KEPT)


def match_probability(system: System, pixels: Tensor, tokens: Tensor, owner: Tensor) -> Tensor:
    """float32 [M]: how likely texts int64 [M, L] match the pictures they belong to, rows `owner` int64 [M] of pixels.

    Pixels are uint8 [B, 3, H, W]; a picture is encoded once, however many texts it has.
    """
    head, model = _matching(system).head, cast(VLModel, system.model)
    if (first := model.vocabulary.encode) is not None:
        tokens = torch.cat([torch.full_like(tokens[:, :1], first), tokens[:, 1:]], dim=1)
    with evaluating(system):
        seen = model.see(model.normalise(pixels)).rows(owner)
        logits: Tensor = head(model.fuse(seen, model.text(tokens)).pooled)
        return logits.float().softmax(dim=1)[:, 1]


def _kept(
    captioner: System, judge: System, pictures: Pictures, tokenizer: Tokenizer, settings: CapFilt
) -> list[dict[str, object]]:
    device = next(judge.parameters()).device
    pixels = pictures.pixels.to(device)
    keys = torch.tensor([key_of(settings.seed, "capfilt", uid) - 2**63 for uid in pictures.uid], device=device)
    written = generate(captioner, pixels, strategy=Nucleus(keys, settings.p), longest=settings.longest)
    own = [[text] if (text := tokenizer.text(row)) else [] for row in written.tolist()]
    sources = {WEB: pictures.captions, SYNTHETIC: own}
    asked = [
        (row, source, caption)
        for row in range(len(pictures.uid))
        for source, captions in sources.items()
        for caption in captions[row]
    ]
    if not asked:
        return []
    tokens, owner = tokenizer([caption for *_, caption in asked]), torch.tensor([row for row, *_ in asked])
    chance = match_probability(judge, pixels, tokens.to(device), owner.to(device)).tolist()
    kept: dict[tuple[int, str], list[str]] = {}
    for (row, source, caption), probability in zip(asked, chance, strict=True):
        if probability >= settings.least:
            kept.setdefault((row, source), []).append(caption)
    return [
        {"uid": pictures.uid[row], "captions": captions, "source": source} for (row, source), captions in kept.items()
    ]


def _matching(system: System) -> Matching:
    for objective in system.objectives.values():
        inner = objective.objective if isinstance(objective, Weighted) else objective
        if isinstance(inner, Matching):
            return inner
    raise UserError(f"a system of {', '.join(system.objectives)} judges no pairs; give one with a matching objective")
