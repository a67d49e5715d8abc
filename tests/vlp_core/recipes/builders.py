"""A small vocabulary, and batches of pictures and texts that a recipe can be fed with."""

import torch
from torch import Tensor

from vlp_core.batch import Batch
from vlp_core.identity import key_of
from vlp_core.vocabulary import Vocabulary

PAD, UNKNOWN, START, END, MASK, DECODE, ENCODE = range(7)
WORDS = Vocabulary(
    size=60,
    pad=PAD,
    start=START,
    end=END,
    mask=MASK,
    decode=DECODE,
    encode=ENCODE,
    length=16,
    special=frozenset(range(7)),
    continuing=frozenset(range(40, 60)),
)


def batch(
    rows: int = 6, *, size: int = 64, longest: int = 9, seed: int = 0, same: dict[int, int] | None = None
) -> Batch:
    """`rows` random pictures of `size` pixels with texts of 3 to `longest` tokens; `same`: rows that repeat another."""
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (rows, 3, size, size), generator=draw, dtype=torch.uint8)
    texts = [_text(longest, draw) for _ in range(rows)]
    images = list(range(rows))
    for row, other in (same or {}).items():
        pixels[row], texts[row], images[row] = pixels[other], texts[other], images[other]
    tokens = torch.full((rows, max(map(len, texts))), PAD)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = text
    return Batch(
        pixels=pixels,
        tokens=tokens,
        image_id=torch.tensor(images),
        text_id=torch.tensor([key_of(text.tolist()) - 2**63 for text in texts]),
        key=torch.tensor([key_of(seed, row) - 2**63 for row in range(rows)]),
        uid=[str(row) for row in range(rows)],
        epoch=0.5,
    )


def _text(longest: int, draw: torch.Generator) -> Tensor:
    words = int(torch.randint(1, longest - 1, (1,), generator=draw))
    inside = torch.randint(7, 60, (words,), generator=draw)
    inside[0] = inside[0] % 33 + 7  # no text begins in the middle of a word
    return torch.cat([torch.tensor([START]), inside, torch.tensor([END])])
