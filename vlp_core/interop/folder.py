"""Folders as Hugging Face saves models: config.json beside model.safetensors or pytorch_model.bin, in one file or many,
and the words of those that read."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vlp_core.data.tokens import CONTINUES, WORDPIECE_FILE, word_numbers
from vlp_core.errors import UserError, first_line
from vlp_core.interop.names import State
from vlp_core.interop.trained import Pixels, pixels_of

CONFIG_FILE = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
PREPROCESSOR_FILE = "preprocessor_config.json"
PIECES = (WORDPIECE_FILE, "vocab.txt")
_MARKS = ("model_type", "architecture")


def config_in(folder: Path) -> dict[str, Any] | None:
    """The configuration that transformers (`model_type`) or timm (`architecture`) wrote there, if one did."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) and any(mark in config for mark in _MARKS) else None


def pixels_in(folder: Path) -> Pixels | None:
    """What transformers says there of the pixels that the model was made for."""
    try:
        return pixels_of(json.loads((folder / PREPROCESSOR_FILE).read_text()), "image_")
    except (OSError, ValueError, AttributeError, TypeError):  # a file that is not there, or something else
        return None


def files_of(folder: Path) -> list[Path]:
    """All that a start from the folder depends on. UserError where it holds no weights."""
    words = [folder / name for name in PIECES if (folder / name).is_file()]
    return [folder / CONFIG_FILE, *weight_files(folder), *words[:1]]


def weights_in(folder: Path) -> State:
    found: State = {}
    for file in weight_files(folder):
        found |= read_file(file)
    return found


def read_file(file: Path) -> State:
    """The tensors in a file, without running what else may be in it; UserError where they cannot be read."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # torch and safetensors have many kinds for a file that is not theirs
        raise UserError(f"{file.name} cannot be read ({first_line(error)})") from error


def pieces_in(folder: Path) -> dict[str, int] | None:
    """The number of each word piece, where a WordPiece tokenizer lies there."""
    file, plain = (folder / name for name in PIECES)
    if file.is_file():
        model = json.loads(file.read_text(encoding="utf-8"))["model"]
        return word_numbers(file) if model.get("continuing_subword_prefix") == CONTINUES else None
    if plain.is_file():
        return {piece: number for number, piece in enumerate(plain.read_text(encoding="utf-8").splitlines())}
    return None


def weight_files(folder: Path) -> list[Path]:
    for name in WEIGHTS:
        file = folder / name
        if file.is_file() and file.suffix != ".json":
            return [file]
        if file.is_file():
            return [folder / part for part in sorted(set(json.loads(file.read_text())["weight_map"].values()))]
    raise UserError(f"holds neither {WEIGHTS[0]} nor {WEIGHTS[2]}")
