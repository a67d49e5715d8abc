"""Weights that a run starts from: a model folder, a checkpoint of another run, or a file of open_clip's."""

import json
from pathlib import Path

import open_clip
import torch

from vlp_core.dual_encoder import DualEncoder
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of_file
from vlp_core.model_folder import CONFIG_FILE, WEIGHTS_FILE, read_config, read_weights
from vlp_core.system import System
from vlp_core.towers import architecture
from vlp_core.train import engine
from vlp_core.train.checkpoint import STATE_FILE, Checkpoints

_WAYS = "give a model folder, a folder with checkpoints, or ARCHITECTURE:FILE for open_clip's"


def load_start(system: System, start: str, recipe: str, device: torch.device) -> None:
    """Put the weights that `start` names into the system; UserError where there are none or they do not fit.

    `recipe` is the name of the system's; `device` is the one that will train; the system stays where it is.
    """
    folder = Path(start)
    if (folder / CONFIG_FILE).is_file():
        _check_recipe(start, read_config(folder)["recipe"].get("name"), recipe)
        system.load_finished(read_weights(folder), origin=start)
    elif folder.is_dir():
        _load_checkpoint(system, folder, recipe, device)
    elif ":" in start and isinstance(system.model, DualEncoder):
        _load_open_clip(system.model, start)
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


def _check_recipe(origin: str, theirs: str | None, ours: str) -> None:
    if theirs != ours:
        raise UserError(f"--train.start {origin}: this is a {theirs}, and a {ours} is trained; {_WAYS} of a {ours}")


def _load_checkpoint(system: System, folder: Path, recipe: str, device: torch.device) -> None:
    folder = _checkpoint_in(folder)
    settings = json.loads((folder / STATE_FILE).read_text())["settings"]
    _check_recipe(str(folder), settings.get("recipe.name"), recipe)
    system.load_trained(engine.read_weights(folder, device), origin=str(folder))


def _load_open_clip(model: DualEncoder, start: str) -> None:
    name, _, file = start.partition(":")
    if architecture(name) != model.config["model_cfg"]:
        raise UserError(
            f"--train.start {start}: the recipe's model is another; set its open_clip to {name} and its loss to softmax"
        )
    if not Path(file).is_file():
        raise UserError(f"--train.start {start}: no such file {file}; {_WAYS}")
    try:
        open_clip.load_checkpoint(model.clip, file)
    except Exception as error:  # torch and safetensors have many kinds for a file that is not theirs
        raise UserError(f"--train.start {start}: not weights of a {name} ({str(error).splitlines()[0]})") from error
