"""Small models and evaluation sets that are written as the stages write them."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from vlp_core.data.index import index_rows
from vlp_core.data.tokens import tokenizer_of
from vlp_core.dual_encoder import DualEncoder
from vlp_core.files import write_table
from vlp_core.identity import sha256_of, uid_of
from vlp_core.model_folder import write_folder
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.sizes import config_of

PREPROCESS = {
    "size": 32,
    "mode": "RGB",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
CONFIG = {
    "recipe": {"name": "clip", "embed_dim": 32},
    "open_clip": {
        "model_cfg": {
            "embed_dim": 32,
            "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1, "head_width": 32},
            "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": PREPROCESS,
    },
    "preprocess": PREPROCESS,
    "tokenizer": {"name": "bpe", "context_length": 16},
}
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 50, 210), "grey": (128, 128, 128)}


def model_folder(folder: Path, seed: int, *, constant: bool = False) -> Path:
    """A model folder with random weights; `constant`: one whose image tower sees nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DualEncoder(CONFIG["open_clip"])
    with torch.no_grad():
        for parameter in model.clip.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.02)
        if constant:
            model.clip.visual.ln_post.weight.zero_()
    folder.mkdir(parents=True)
    write_folder(folder, model.clip_state_dict(), CONFIG)
    return folder


def system_folder(name: str, pieces: Path, out: Path) -> Path:
    """A model folder of an untrained tiny system, with the word pieces that lie in `pieces`."""
    torch.manual_seed(0)
    sizes = RECIPES[name].TINY.system
    tokenizer = tokenizer_of(config_of(sizes)["tokenizer"], pieces)
    system = sizes.build(tokenizer.vocabulary)
    write_folder(out, system.finished(), config_of(sizes) | system.described())
    tokenizer.save(out)
    return out


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of an images folder; without a body it failed."""

    url: str
    body: bytes | None
    captions: Sequence[str] = ()
    label: str | None = None
    group: str | None = None


def picture(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    """A JPEG of one colour with noise that `seed` names."""
    noise = np.random.default_rng(seed).normal(0, 12, (size[1], size[0], 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def images_folder(folder: Path, shards: Sequence[Sequence[Row]], *, labelled: bool = False) -> Path:
    """Shards of tar, Parquet and index."""
    folder.mkdir(parents=True)
    for number, rows in enumerate(shards):
        name = f"{number:05d}"
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for row_number, row in enumerate(rows):
                if row.body is not None:
                    member = tarfile.TarInfo(f"{name}{row_number:04d}.jpg")
                    member.size = len(row.body)
                    tar.addfile(member, io.BytesIO(row.body))
        table = pa.table(
            {
                "key": [f"{name}{row_number:04d}" for row_number in range(len(rows))],
                "url": [row.url for row in rows],
                "status": ["success" if row.body else "failed_to_download" for row in rows],
                "sha256": pa.array([sha256_of(row.body) if row.body else None for row in rows], pa.string()),
                "uid": [uid_of(row.url) for row in rows],
                "captions": pa.array([list(row.captions) for row in rows], pa.list_(pa.string())),
            }
            | ({"label": [row.label for row in rows], "group": [row.group for row in rows]} if labelled else {})
        )
        write_table(folder / f"{name}.parquet", table)
        write_table(folder / f"{name}_index.parquet", index_rows(folder / f"{name}.tar", table))
    return folder


def rows(count: int, seed: int = 0) -> list[Row]:
    """Coloured pictures with two captions, a label and a group each; every seventh failed."""
    names = list(COLOURS)
    made = []
    for number in range(count):
        name = names[number % len(names)]
        made.append(
            Row(
                url=f"http://pictures.test/{seed}/{number}.jpg",
                body=None if number % 7 == 6 else picture(COLOURS[name], seed * 1000 + number),
                captions=(f"a {name} picture", f"picture {number} is {name}"),
                label=name,
                group="held_out" if name == "grey" else "seen",
            )
        )
    return made


def classes_file(path: Path, names: Sequence[str] = tuple(COLOURS)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"classes": list(names), "templates": ["a {} picture", "the colour {}"]}))
    return path
