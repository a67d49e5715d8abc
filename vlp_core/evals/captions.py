"""How good captions are that a system writes: CIDEr and BLEU-4 against those that people wrote."""

import re
from collections.abc import Iterator, Mapping, Sequence

import torch

from vlp_core.evals.encoder import Done, batches, silent
from vlp_core.evals.reader import Reader
from vlp_core.evals.sets import RetrievalSet
from vlp_core.generate import Beam, generate
from vlp_core.objectives.captioning import Captioning

Score = tuple[str, float]


def written(reader: Reader, data: RetrievalSet, done: Done = silent) -> list[str]:
    """A caption for each picture, by beam search of width 3."""
    captions = []
    for pixels in reader.streamed(batches(data.pictures, reader.settings.batch_size)):
        with reader.autocast():
            tokens = generate(reader.system, pixels, strategy=Beam(width=3))
        captions += [reader.tokenizer.text(row) for row in tokens.tolist()]
        done(len(pixels))
    return captions


@torch.inference_mode()
def captioning(reader: Reader, data: RetrievalSet, done: Done = silent) -> Iterator[Score]:
    """`captions/cider` (Vedantam et al., 2015, arXiv:1411.5726) and `captions/bleu4` (Papineni et al., 2002)."""
    if reader.objective(Captioning) is None:
        return
    references: dict[int, list[str]] = {}
    for text, picture in data.pairs.tolist():
        references.setdefault(picture, []).append(data.texts[text])
    candidates = dict(enumerate(written(reader, data, done)))
    for name, value in scores(candidates, references).items():
        yield f"captions/{name}", value


def scores(candidates: Mapping[int, str], references: Mapping[int, Sequence[str]]) -> dict[str, float]:
    """CIDEr (CIDEr-D of the COCO evaluation) and BLEU-4 of a caption a picture against one or more references.

    Texts are compared in lower case and without punctuation; the COCO evaluation's own tokenizer would need Java.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider

    said = {key: [plain(candidates[key])] for key in candidates}
    right = {key: [plain(text) for text in references[key]] for key in candidates}
    cider, _ = Cider().compute_score(right, said)
    bleu, _ = Bleu(4).compute_score(right, said, verbose=0)
    return {"cider": float(cider), "bleu4": float(bleu[3])}


def plain(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))
