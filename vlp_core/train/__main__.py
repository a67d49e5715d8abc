"""`torchrun -m vlp_core.train`: train on a folder of shards on a machine that has neither Ray nor MLflow.

python -m vlp_core.train --images runs/download/… --selection runs/select/…/selection.parquet --out model
torchrun --nproc-per-node 2 -m vlp_core.train --images … --out model --recipe vilt --train.zero-stage 2
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from vlp_core.data.settings import Data
from vlp_core.errors import UserError
from vlp_core.recipes.catalogue import Size, recipe_of
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
    tokenizer: Path | None = None
    """Word pieces (the folder of the tokenizer step or of a BERT, or a file in it), for recipes that read those."""
    recipe: str = "clip"
    """Recipe by name; its sizes and settings are what the other flags start from."""
    size: Size = "tiny"
    """What two cores can train, or the settings of its paper."""
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


def parse(words: list[str]) -> tuple[Arguments, Any]:
    """The arguments, and the sizes of the system."""
    import tyro

    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--recipe", default=Arguments.recipe)
    first.add_argument("--size", default=Arguments.size)
    chosen = first.parse_known_args(words)[0]
    recipe = recipe_of(chosen.recipe, "paper" if chosen.size == "paper" else "tiny")
    default: Any = Arguments(
        images=tyro.MISSING, out=tyro.MISSING, recipe=chosen.recipe, train=recipe.train, data=recipe.data
    )

    def both(
        arguments: Annotated[Arguments, tyro.conf.arg(name="")] = default, model: Any = recipe.system
    ) -> tuple[Arguments, Any]:
        return arguments, model

    both.__annotations__["model"] = type(recipe.system)
    arguments, sizes = tyro.cli(both, args=words)
    train = replace(arguments.train, workers=int(os.environ.get("WORLD_SIZE", "1")))
    return replace(arguments, train=train), sizes


def main(words: list[str]) -> int:
    try:
        arguments, sizes = parse(words)
        from vlp_core.train.loop import train_model

        terminal = Terminal(arguments.train.steps)
        if recipe_of(arguments.recipe).capfilt is not None and os.environ.get("RANK", "0") == "0":
            terminal.warn(
                f"{arguments.recipe}: captions are as they are; it is pipelines/pretrain.py that bootstraps them"
            )
        arguments.out.mkdir(parents=True, exist_ok=True)
        train_model(
            images=arguments.images,
            selection=arguments.selection,
            recipe=sizes,
            train=arguments.train,
            data=arguments.data,
            tokenizer=arguments.tokenizer,
            out=arguments.out.resolve(),
            tracker=terminal,
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
