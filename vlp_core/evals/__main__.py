"""`python -m vlp_core.evals`: score a model of any recipe or any open_clip checkpoint, without Ray and MLflow."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from vlp_core.errors import UserError
from vlp_core.evals.settings import Evaluate


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Score a model on sets of one's own and print the scores as JSON."""

    model: str
    """A model folder of any recipe, an open_clip export folder, or an open_clip checkpoint as ARCH:FILE."""
    retrieval: Path | None = None
    """An images folder with captions."""
    zero_shot: Path | None = None
    """An images folder with the column label, and group if there are groups."""
    classes: Path | None = None
    """A JSON file {"classes": [...], "templates": ["a photo of a {}", ...]}."""
    dual: str | None = None
    """A dual encoder, named as the model is, whose best are what a fusion ranks that has no towers of its own."""
    draw: Path | None = None
    """A folder for queries.png and zero_shot.png."""
    allow_download: bool = False
    """Let open_clip fetch ARCH:TAG or hf-hub:ORG/NAME."""
    evaluate: Evaluate = field(default_factory=Evaluate)


def main(arguments: Sequence[str] | None = None) -> int:
    given = tyro.cli(Arguments, args=arguments, prog="python -m vlp_core.evals")
    from vlp_core.evals.evaluators import Suite
    from vlp_core.scoring import scores_of

    try:
        suite = Suite.read(retrieval=given.retrieval, zero_shot=given.zero_shot, classes=given.classes)
        scores = scores_of(
            given.model,
            suite,
            given.evaluate,
            dual=given.dual,
            draw=given.draw,
            allow_download=given.allow_download,
        )
        if not scores:
            raise UserError(f"{given.model}: of this system a zero-shot set says nothing; give --retrieval")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or given.draw}: {error.strerror or error}", file=sys.stderr)
        return 2
    print(json.dumps(scores, indent=2, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
