"""A finished model in a folder: `model.safetensors`, its weights in fp32, and `config.json`, what it is.

The configuration has `recipe` (name and sizes), `preprocess` (what pictures are brought to) and `tokenizer`, and for a
model of open_clip's also `open_clip`, as open_clip reads it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlp_core.errors import UserError
from vlp_core.files import replacing, write_text

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
LOCAL_DIR, EXPORT_CONFIG, EXPORT_WEIGHTS = "local-dir:", "open_clip_config.json", "open_clip_model.safetensors"
"""How open_clip names a folder that it loads, the file that makes it one, and its weights."""
NEEDED = ("recipe", "preprocess", "tokenizer")


def write_folder(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    with replacing(folder / WEIGHTS_FILE) as temporary:
        save_file(dict(weights), temporary, metadata={"format": "pt"})
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """UserError where the folder holds no model."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
        for part in NEEDED:
            config[part]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: not a model folder ({CONFIG_FILE}: {error!r}); give the output folder of train"
        ) from error
    return cast(dict[str, Any], config)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """UserError where they cannot be read."""
    try:
        return load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{folder / WEIGHTS_FILE}: not readable ({error}); train again or give another model folder"
        ) from error
