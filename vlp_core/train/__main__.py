"""`torchrun -m vlp_core.train`: train on a folder of shards on a machine that has neither Ray nor MLflow.

python -m vlp_core.train --images runs/download/… --selection runs/select/…/selection.parquet --out model
torchrun --nproc-per-node 2 -m vlp_core.train --images … --out model --recipe tiny --train.zero-stage 2
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vlp_core.data.settings import Data
from vlp_core.errors import UserError, nearest
from vlp_core.recipes import RECIPES, TRAINING
from vlp_core.recipes.clip import CLIP
from vlp_core.tracker import Silent
from vlp_core.train.settings import Train


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a recipe on a folder of shards; started again with the same output folder, go on where it was."""

    images: Path
    """Folder of shards."""
    selection: Path | None = None
    """Selection (Parquet); without one, every picture is trained on."""
    out: Path
    """Model folder to write."""
    previous: Path | None = None
    """Finished model folder to carry on from, with more steps."""
    recipe: str = "tiny"
    """Recipe by name; its sizes and settings are what the flags below start from."""
    model: CLIP = field(default_factory=CLIP)
    train: Train = field(default_factory=Train)
    data: Data = field(default_factory=Data)


class Terminal(Silent):
    """Prints the points of the curve, and what was wrong, a line each."""

    def __init__(self, steps: int) -> None:
        self._steps, self._start = steps, time.monotonic()

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(f"step {step}/{self._steps}  {numbers}  {time.monotonic() - self._start:.0f} s", flush=True)

    def warn(self, text: str) -> None:
        print(f"! {text}", file=sys.stderr, flush=True)


def parse(words: list[str]) -> Arguments:
    import tyro

    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--recipe", default="tiny")
    name = first.parse_known_args(words)[0].recipe
    if name not in RECIPES:
        raise UserError(f"--recipe {name}: no such recipe{nearest(name, RECIPES)}")
    default: Any = Arguments(
        images=tyro.MISSING, out=tyro.MISSING, recipe=name, model=RECIPES[name], train=TRAINING[name]
    )
    arguments = tyro.cli(Arguments, args=words, default=default)
    return replace(arguments, train=replace(arguments.train, workers=int(os.environ.get("WORLD_SIZE", "1"))))


def main(words: list[str]) -> int:
    try:
        arguments = parse(words)
        from vlp_core.train.loop import train_model

        arguments.out.mkdir(parents=True, exist_ok=True)
        train_model(
            images=arguments.images,
            selection=arguments.selection,
            recipe=arguments.model,
            train=arguments.train,
            data=arguments.data,
            out=arguments.out.resolve(),
            tracker=Terminal(arguments.train.steps),
            previous=arguments.previous,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read along has seen enough
        return 1
    except OSError as error:
        print(f"error: {error.filename or 'train'}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
