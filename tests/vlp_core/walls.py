"""Walls of four colours, and a small BLIP that has learnt to write and to judge what they are called."""

import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlp_core.batch import Batch
from vlp_core.data.samples import text_id
from vlp_core.data.tokens import WORDPIECE_FILE, Tokenizer, train_word_pieces, word_pieces
from vlp_core.identity import generator, key_of
from vlp_core.model_folder import write_folder
from vlp_core.recipes.blip import BLIP
from vlp_core.sizes import config_of
from vlp_core.system import System

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 60, 220), "white": (240, 240, 240)}
TEXTS = {name: f"a {name} wall" for name in COLOURS}
SIZES = BLIP(picture=(48, 2, 3), text=(48, 2, 3), patch=16, image_size=32, queue=8)


def painted(names: list[str], seed: int = 0) -> Tensor:
    """uint8 [B, 3, 32, 32]: one colour and noise."""
    draw = torch.Generator().manual_seed(seed)
    plain = torch.tensor([COLOURS[name] for name in names])[:, :, None, None]
    return (plain + torch.randint(-15, 16, (len(names), 3, 32, 32), generator=draw)).clamp(0, 255).to(torch.uint8)


def photo(name: str, seed: int) -> bytes:
    """A picture of a wall, as it comes from the web."""
    noise = generator("wall", seed).integers(-15, 16, (60, 60, 3))
    file = io.BytesIO()
    Image.fromarray((np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=90)
    return file.getvalue()


def pieces(folder: Path) -> Tokenizer:
    train_word_pieces(list(TEXTS.values()) * 9, 60).save(str(folder / WORDPIECE_FILE))
    return word_pieces(folder / WORDPIECE_FILE, SIZES.needs.length)


def trained(tokenizer: Tokenizer) -> System:
    """The system that tells the four apart; learning that takes a few seconds, once."""
    system = SIZES.build(tokenizer.vocabulary)
    system.load_finished(_weights(), origin="walls")
    return system


@cache
def _weights() -> dict[str, Tensor]:
    with TemporaryDirectory() as folder:
        tokenizer = pieces(Path(folder))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    system = SIZES.build(tokenizer.vocabulary)
    optimizer = torch.optim.AdamW(system.parameters(), lr=2e-3)
    names = list(COLOURS) * 4
    for step in range(80):
        batch = Batch(
            pixels=painted(names, seed=step),
            tokens=tokenizer([TEXTS[name] for name in names]),
            image_id=torch.arange(len(names)),
            text_id=torch.tensor([text_id(name) for name in names]),
            key=torch.tensor([key_of(step, row) - 2**63 for row in range(len(names))]),
            uid=[str(row) for row in range(len(names))],
        )
        optimizer.zero_grad()
        system(batch)["loss"].backward()
        optimizer.step()
    return system.finished()


def save(folder: Path, system: System, tokenizer: Tokenizer) -> Path:
    """The folder of a model, as train leaves it."""
    tokenizer.save(folder)
    write_folder(folder, system.finished(), config_of(SIZES))
    return folder
