#!/usr/bin/env python
"""Every system at the size for two cores, one after another on one cluster, and the table that compares them.

pipelines/systems.py                           # all of them on the embedded corpus
pipelines/systems.py --only albef virtex       # some
pipelines/systems.py --only vilt               # CLIP is made too: it brings the pairs that a fusion alone ranks
pipelines/systems.py --root /data/runs --train.steps 50      # further flags are those of pipelines/pretrain.py
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import evaluate, untrained
from pipelines.pretrain import HEADLINE, Pretrain, build, configuration
from pipelines.workflow.cli import open_root, parse, run_pipeline
from pipelines.workflow.ending import FAULT, INTERRUPTED, OK, ended
from pipelines.workflow.plan import folders_made
from pipelines.workflow.record import RUN
from pipelines.workflow.registered import resolved
from pipelines.workflow.step import Step, step, walk
from vlp_core.errors import UserError
from vlp_core.evals.settings import Evaluate

if TYPE_CHECKING:
    from vlp_core.comparison import Trained

BRINGS = "clip"
"""The dual encoder whose candidates are ranked by fusions that have none of their own."""

VARIANTS = {"siglip": ("clip", ("--model.loss", "sigmoid"))}
"""Systems that are a setting of a recipe: rows of their own, under names of their own."""


def with_untrained(config: Pretrain) -> list[Step]:
    """The DAG of a system, and the scores that it has before its first step."""
    last = build(config)
    made = {found.name: found for found in walk(last)}
    if "evaluate" not in made:
        raise UserError("systems are compared by their scores: give --eval.retrieval LIST too")
    beginning = untrained.Beginning(seed=config.train.seed, start=config.train.start)
    before = step("untrained", untrained.run, model=made["train"], beginning=beginning)
    return [*last, step("evaluate-untrained", evaluate.run, **{**made["evaluate"].inputs, "model": before})]


TRAINING = ("train-first", "captions", "train")
"""The steps that are its training: for BLIP, those that bootstrap its captions too."""


def made_of(name: str, folders: dict[str, Path], settings: Evaluate) -> "Trained":
    """A system that went through its DAG, from the folders of its steps."""
    from vlp_core.comparison import Trained

    runs = [json.loads((folders[step] / RUN).read_text()) for step in TRAINING if step in folders]
    return Trained(
        name=name,
        model=folders["train"],
        retrieval=folders["download-retrieval"],
        evaluate=settings,
        scores=evaluate.read_scores(folders["evaluate"]),
        before=evaluate.read_scores(folders["evaluate-untrained"]),
        seconds=sum(run["finished"] - run["started"] for run in runs),
    )


def make(name: str, words: list[str]) -> tuple[int, dict[str, Path], Evaluate]:
    """Bring a system through its DAG; the exit code, the folders of its steps, and how it was scored."""
    from vlp_core.recipes.catalogue import recipe_of

    recipe, flags = VARIANTS.get(name, (name, ()))
    config, words = configuration(name, recipe_of(recipe)), [*flags, *words]
    code = run_pipeline(
        "pretrain", config, with_untrained, headline=(*HEADLINE, "evaluate-untrained"), arguments=words, run_name=name
    )
    if code:
        return code, {}, Evaluate()
    settings, workflow = parse(config, words, "pretrain")
    root = open_root(workflow.root, look_only=True)
    return 0, folders_made(walk(with_untrained(resolved(settings, root))), root), settings.evaluate


def ranks_anothers(name: str) -> bool:
    """Whether a system matches pairs and has no towers that bring them."""
    from vlp_core.evals.systems import parts_of
    from vlp_core.recipes.catalogue import recipe_of
    from vlp_core.sizes import outline

    parts = parts_of(outline(recipe_of(VARIANTS.get(name, (name,))[0]).system))
    return parts.matches and not parts.compares


def main(words: Sequence[str]) -> int:
    return ended(lambda: _made(words))


def _made(words: Sequence[str]) -> int:
    from vlp_core.comparison import Trained
    from vlp_core.recipes.catalogue import RECIPES, recipe_of

    if "--help" in words:
        print(__doc__)
        return OK
    flags = argparse.ArgumentParser(prog="systems", add_help=False)
    flags.add_argument("--only", nargs="+", default=sorted([*RECIPES, *VARIANTS]))
    chosen, rest = flags.parse_known_args(words)
    only = [name for names in chosen.only for name in names.split(",")]
    for name in only:
        recipe_of(VARIANTS.get(name, (name,))[0])
    trained: list[Trained] = []
    failed: dict[str, int] = {}
    dual: list[str] = []
    first = BRINGS in only or any(ranks_anothers(name) for name in only)
    for name in [*[BRINGS] * first, *(name for name in only if name != BRINGS)]:
        code, folders, settings = make(name, [*rest, *(dual if ranks_anothers(name) else [])])
        if code == INTERRUPTED:
            return code
        if code:  # the others do not wait for it; without CLIP a fusion ranks its first pictures alone
            failed[name] = code
        elif "register" in folders and "evaluate-untrained" in folders:  # not so after --explain and --until
            dual = ["--dual", str(folders["register"] / "export")] if name == BRINGS else dual
            trained.append(made_of(name, folders, settings))
    for name in failed:
        print(f"error: {name}: not in the table, for it failed (see above)", file=sys.stderr)
    behind = compared([system for system in trained if system.name in only], dual)
    return max([*failed.values(), FAULT if behind else OK])


def compared(systems: Sequence["Trained"], dual: Sequence[str]) -> bool:
    """Print the tables; whether a system is not ahead of its untrained self."""
    from vlp_core.comparison import rankings, table

    if systems:
        print(f"\n{table(systems)}\n\n{rankings(systems, Path(dual[1]) if dual else None)}\n")
    behind = [system for system in systems if not system.learnt]
    for system in behind:
        print(f"error: {system.shortfall}; give --train.steps more", file=sys.stderr)
    return bool(behind)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
