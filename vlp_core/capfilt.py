"""CapFilt (BLIP, Li et al., 2022, arXiv:2201.12086, section 3.3): captions are written for pictures of the web, and of
these and the web's own it is told how well they match their picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import torch
from torch import Tensor

from vlp_core.curation.settings import Captions
from vlp_core.data.layout import CAPTIONED
from vlp_core.data.tokens import Tokenizer
from vlp_core.errors import UserError
from vlp_core.generate import Nucleus, Writer
from vlp_core.identity import key_of
from vlp_core.model import VLModel
from vlp_core.nn.evaluating import evaluating
from vlp_core.nn.precision import in_fp32
from vlp_core.objectives.captioning import FORWARD, Captioning
from vlp_core.objectives.matching import Matching
from vlp_core.sequence import Sequence
from vlp_core.system import System

TEXTS = 256  # that are judged at once: a picture that many pages show has as many captions


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """B pictures from the web: pixels uint8 [B, 3, H, W], and the name and the captions of each."""

    pixels: Tensor
    uid: list[str]
    captions: list[list[str]]


def check(system: System, name: str) -> None:
    """UserError, which calls the system `name`, where it cannot both write captions and judge them."""
    writer = system.objective(Captioning)
    writes = writer is not None and FORWARD in writer.directions
    if not writes or system.objective(Matching) is None:
        lacking = "judges no pairs" if writes else "writes no captions"
        raise UserError(
            f"{name} {lacking} (its objectives: {', '.join(system.objectives)}); CapFilt takes a recipe with "
            "a captioning and a matching objective"
        )


def caption(
    captioner: System, judge: System, pictures: Iterable[Pictures], tokenizer: Tokenizer, settings: Captions
) -> pa.Table:
    """CAPTIONED: a row a picture, in the order given; web_match goes along its captions.

    Either system has the tokenizer's vocabulary; in the paper they are two that were tuned apart, the captioner by its
    captioning objective and the judge by its matching objective. UserError where one lacks what is asked of it.
    """
    rows = [row for some in pictures for row in _captioned(captioner, judge, some, tokenizer, settings)]
    return pa.Table.from_pylist(rows, schema=CAPTIONED)


def match_probability(
    system: System, pixels: Tensor, tokens: Tensor, owner: Tensor, *, seen: Sequence | None = None
) -> Tensor:
    """float32 [M]: how likely the system finds a match, as it learnt to say; see `match_odds`."""
    return match_odds(system, pixels, tokens, owner, seen=seen).sigmoid()


def match_odds(
    system: System, pixels: Tensor, tokens: Tensor, owner: Tensor, *, seen: Sequence | None = None
) -> Tensor:
    """float32 [M]: log-odds that texts int64 [M, L] match the pictures they belong to, rows `owner` int64 [M] of
    pixels.

    Pixels are uint8 [B, 3, H, W]; a picture is encoded once, however many texts it has, and not here where the
    system's states of the pictures are given in `seen`.
    """
    objective, model = system.objective(Matching), cast(VLModel, system.model)
    if objective is None:
        raise UserError(
            f"a system of {', '.join(system.objectives)} judges no pairs; give one with a matching objective"
        )
    with evaluating(system):
        seen = model.see(model.normalise(pixels)) if seen is None else seen
        odds = []
        for texts, rows in zip(tokens.split(TEXTS), owner.split(TEXTS), strict=True):
            pooled = model.fuse(seen.rows(rows), model.read(texts, model.vocabulary.encode)).pooled
            assert pooled is not None
            logits = in_fp32(objective.head, pooled)
            odds.append(logits[:, 1] - logits[:, 0])
        return torch.cat(odds)


def _captioned(
    captioner: System, judge: System, pictures: Pictures, tokenizer: Tokenizer, settings: Captions
) -> list[dict[str, object]]:
    pixels = pictures.pixels
    keys = torch.tensor([key_of(settings.seed, "capfilt", uid) - 2**63 for uid in pictures.uid], device=pixels.device)
    with evaluating(captioner):
        writer = Writer(captioner, pixels, longest=settings.longest)
        seen = writer.seen if judge is captioner else None
        written = Nucleus(keys, settings.p).write(writer)
    own = [tokenizer.text(row) or None for row in written.tolist()]
    asked = [[*web, *filter(None, [text])] for web, text in zip(pictures.captions, own, strict=True)]
    found = iter(_judged(judge, pixels, asked, tokenizer, seen))
    rows: list[dict[str, object]] = []
    for uid, web, text in zip(pictures.uid, pictures.captions, own, strict=True):
        web_match = [next(found) for _ in web]
        match = None if text is None else next(found)
        rows.append({"uid": uid, "synthetic": text, "synthetic_match": match, "web_match": web_match})
    return rows


def _judged(
    judge: System, pixels: Tensor, captions: list[list[str]], tokenizer: Tokenizer, seen: Sequence | None
) -> list[float]:
    """The probabilities of all pictures' captions, one after the other."""
    owner = torch.tensor([row for row, texts in enumerate(captions) for _ in texts], device=pixels.device)
    if not len(owner):
        return []
    tokens = tokenizer([text for texts in captions for text in texts]).to(pixels.device)
    probabilities: list[float] = match_probability(judge, pixels, tokens, owner, seen=seen).tolist()
    return probabilities
