"""The file of DeepSpeed's that a user may lay over the configuration; free of torch, for a plan reads it too."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlp_core.errors import UserError
from vlp_core.identity import digest_of
from vlp_core.train.settings import Train

# What a DeepSpeed file may not say, because a flag says it.
OWNED = {
    "train_batch_size": "--train.batch-size",
    "train_micro_batch_size_per_gpu": "--train.batch-size",
    "gradient_accumulation_steps": "--train.batch-size",
    "gradient_clipping": "--train.clip-norm",
    "optimizer": "--train.lr and its like",
    "scheduler": "--train.warmup and --train.steps",
    "fp16": "--train.precision",
    "bf16": "--train.precision",
    "amp": "--train.precision",
    "torch_autocast": "--train.precision",
}


def read_file(path: Path) -> dict[str, Any]:
    """What it says; UserError for one that cannot be read, or that says what flags say."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable DeepSpeed configuration ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("zero_optimization", {}), dict):
        raise UserError(f"{path}: a DeepSpeed configuration is a JSON object, and so is its zero_optimization")
    for key in config:
        if key in OWNED:
            raise UserError(f"{path}: {key} is said by {OWNED[key]}; take it out of the file")
    return config


def stage_of(train: Train) -> int:
    """The stage of ZeRO that is asked for: the file's, or else the flag's."""
    config = read_file(train.deepspeed) if train.deepspeed else {}
    return int(config.get("zero_optimization", {}).get("stage", train.zero_stage))


def identify_file(path: Path) -> str | None:
    """A name for what a DeepSpeed file asks for beside the ZeRO stage; none where that is nothing."""
    config = read_file(path)
    if "zero_optimization" in config:
        config["zero_optimization"] = {k: v for k, v in config["zero_optimization"].items() if k != "stage"}
    asked = {key: value for key, value in config.items() if value != {}}
    return f"{path.name} ({digest_of(asked)[:16]})" if asked else None


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, objects in them merged."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged
