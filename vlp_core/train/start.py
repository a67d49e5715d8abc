"""Weights that a run starts from: a model folder, a checkpoint of another run, or a file of open_clip's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch

from vlp_core.errors import UserError
from vlp_core.identity import sha256_of_file
from vlp_core.model import CONFIG_FILE, WEIGHTS_FILE, DualEncoder, architecture, read_weights
from vlp_core.system import System
from vlp_core.train import engine
from vlp_core.train.checkpoint import STATE_FILE, Checkpoints

_WAYS = "give a model folder, a folder with checkpoints, or ARCHITECTURE:FILE for open_clip's"
_INSIDE = "model.clip."  # where open_clip's model lies in a System


def load_start(system: System, start: str, model_cfg: Mapping[str, Any], device: torch.device) -> None:
    """Put the weights that `start` names into the system; UserError where there are none or they do not fit.

    `device` is the one that will train; the system stays where it is.
    """
    folder = Path(start)
    if (folder / CONFIG_FILE).is_file():
        system.model.load_weights(read_weights(folder), origin=start)
    elif folder.is_dir():
        _load_checkpoint(system, folder, device)
    elif ":" in start:
        _load_open_clip(system.model, start, model_cfg)
    else:
        raise UserError(f"--train.start {start}: no such folder; {_WAYS}")


def identify_start(start: str) -> str:
    """A name for the weights that `start` names, equal where they are; UserError where there are none."""
    path = Path(start) if Path(start).exists() else Path(start.partition(":")[2])
    if path.is_file():
        content = path
    elif (path / CONFIG_FILE).is_file():
        content = path / WEIGHTS_FILE
    else:
        content = _checkpoint_in(path) / STATE_FILE  # which holds the digests of the others
    if not content.is_file():
        raise UserError(f"--train.start {start}: {content.name} is not there; {_WAYS}")
    return f"{path.resolve().name} ({sha256_of_file(content)[:16]})"


def _checkpoint_in(folder: Path) -> Path:
    if (folder / STATE_FILE).is_file():
        return folder
    found = Checkpoints(folder).newest()
    if found is None:
        raise UserError(f"--train.start {folder}: neither a model nor a checkpoint is in it; {_WAYS}")
    return found.folder


def _load_checkpoint(system: System, folder: Path, device: torch.device) -> None:
    folder = _checkpoint_in(folder)
    weights = {name.removeprefix(_INSIDE): value for name, value in engine.read_weights(folder, device).items()}
    system.model.load_weights(weights, origin=str(folder))


def _load_open_clip(model: DualEncoder, start: str, model_cfg: Mapping[str, Any]) -> None:
    name, _, file = start.partition(":")
    if architecture(name) != model_cfg:
        raise UserError(f"--train.start {start}: the recipe's model is another; set its open_clip to {name}")
    if not Path(file).is_file():
        raise UserError(f"--train.start {start}: no such file {file}; {_WAYS}")
    try:
        open_clip.load_checkpoint(model.clip, file)
    except Exception as error:  # torch and safetensors have many kinds for a file that is not theirs
        raise UserError(f"--train.start {start}: not weights of a {name} ({str(error).splitlines()[0]})") from error
