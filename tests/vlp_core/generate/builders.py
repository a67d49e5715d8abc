"""Small systems that write, and what they think of a text, as training computes it."""

from itertools import product

import torch
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.encoders.pictures import vit
from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.heads.words import WordHead
from vlp_core.model import VLModel
from vlp_core.needs import Needs
from vlp_core.nn.blocks import Trunk
from vlp_core.objectives.captioning import Captioning
from vlp_core.objectives.weighted import Weighted
from vlp_core.system import System
from vlp_core.vocabulary import Vocabulary

PAD, START, END, MASK, DECODE = range(5)
DIM, SIZE, LONGEST = 32, 16, 5


def vocabulary(words: int = 3, *, decode: bool = True, length: int = LONGEST) -> Vocabulary:
    return Vocabulary(
        size=5 + words,
        pad=PAD,
        start=START,
        end=END,
        mask=MASK,
        decode=DECODE if decode else None,
        length=length,
        special=frozenset(range(5)),
    )


def writing(kind: str, words: Vocabulary, seed: int = 1) -> System:
    """A decoder over embedded words (BLIP), or over a causal encoder of them whose objective is weighted (CoCa)."""
    torch.manual_seed(seed)
    embed = WordEmbed(DIM, words)
    roles = ("self", "decode") if kind == "embedded" else ("self",)
    trunk = Trunk(DIM, 2, 4, norm="post", context_dim=DIM, roles=roles)
    model = VLModel(
        image=vit(image_size=SIZE, patch=8, dim=DIM, depth=1, heads=4),
        text=embed if kind == "embedded" else WordEncoder(embed, Trunk(DIM, 1, 4), causal=True),
        fusion=CrossAttention(trunk, roles=kind == "embedded"),
        vocabulary=words,
        needs=Needs(),
    )
    head = WordHead(DIM, words)
    for part in (*model.modules(), *head.modules()):  # fresh weights find all words alike
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.4)
    nn.init.normal_(embed.position.weight, std=1.5)
    nn.init.constant_(head.scores.bias[END], 2.0)  # some texts end before the longest
    objective: nn.Module = Captioning(head)
    return System(model, {"lm": objective if kind == "embedded" else Weighted(2.0, objective)})


def pictures(rows: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, 3, SIZE, SIZE), generator=draw, dtype=torch.uint8)


def all_texts(words: Vocabulary) -> Tensor:
    """int64 [N, LONGEST]: every text there is."""
    inside = range(5, words.size)
    texts = [[START, *text, END] for count in range(LONGEST - 1) for text in product(inside, repeat=count)]
    return torch.tensor([text + [PAD] * (LONGEST - len(text)) for text in texts])


@torch.no_grad()
def likelihood(system: System, pixels: Tensor, tokens: Tensor) -> Tensor:
    """float [B]: log-probabilities of texts among all that may be written, by one pass over the whole of them."""
    zeros = torch.zeros(len(tokens), dtype=torch.int64)
    names = [str(row) for row in range(len(tokens))]
    batch = Batch(pixels=pixels, tokens=tokens, image_id=zeros, text_id=zeros, key=zeros, uid=names)
    objective = system.eval().objectives["lm"]
    logits, following = getattr(objective, "objective", objective).predict(system.view(batch))
    logits[..., [PAD, START, MASK, DECODE]] = float("-inf")
    scores = logits.log_softmax(dim=-1).gather(2, following.clamp(min=0)[:, :, None])[:, :, 0]
    return torch.where(following >= 0, scores, 0.0).sum(dim=1)
