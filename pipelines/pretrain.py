#!/usr/bin/env python
"""Any system of the recipes from a list of links: ingest, download, filter, dedup, select, train, evaluate, register.

pipelines/pretrain.py --list                                   # name, paper, slots and objectives of each
pipelines/pretrain.py vilt                                     # on the embedded corpus, at a size for two cores
pipelines/pretrain.py vilt --help                              # every flag
pipelines/pretrain.py albef --size paper --source pairs.parquet --eval.retrieval test.parquet --root /data/runs
"""

import os
import sys
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from jobs import capfilt, captions, evaluate, register, shard, tokenizer, train
from pipelines.data import Curate, Inputs, check_data, fetched, inputs_of, reported, selected
from pipelines.forecasting.forecast import run_or_forecast
from pipelines.forecasting.settings import Forecasting
from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.ending import OK, ended
from pipelines.workflow.step import Step, step
from vlp_core.curation.settings import CapFilt
from vlp_core.data.settings import Data, Shard, Words
from vlp_core.errors import UserError, public_text
from vlp_core.evals.classes import Classes, check_labels
from vlp_core.evals.settings import Evaluate, Register
from vlp_core.recipes.recipe import Needs, Recipe
from vlp_core.train.settings import Train, sources_of


@dataclass(frozen=True, kw_only=True)
class Pretrain(Curate):
    """Train a system on (url, caption) lists, evaluate it and register it. Without --source: on the embedded corpus."""

    shard: Shard = Shard()
    words: Words = Words()
    model: Any = None
    train: Train = Train()
    data: Data = Data()
    capfilt: ClassVar[CapFilt | None] = None  # a setting, with flags, where the recipe has it
    starts: ClassVar[tuple[str, ...]] = ()  # as the recipe says
    dual: Path | None = None
    """A dual encoder (a model folder or an open_clip export) whose best are what a fusion ranks that has no towers of
    its own to find them with."""
    evaluate: Evaluate = Evaluate()
    register: Register = Register()


def configuration(name: str, recipe: Recipe) -> type[Pretrain]:
    """The configuration of a recipe: --model.… changes its sizes, and its settings are the defaults of the rest."""
    fields: list[tuple[str, type, Any]] = [
        ("model", type(recipe.system), recipe.system),
        ("train", Train, recipe.train),
        ("data", Data, recipe.data),
        ("register", Register, Register(name=name)),
    ]
    if recipe.capfilt is not None:
        fields.append(("capfilt", CapFilt, recipe.capfilt))
    made = make_dataclass(
        "Pretrain", fields, bases=(Pretrain,), namespace={"starts": recipe.starts}, frozen=True, kw_only=True
    )
    made.__doc__ = (Pretrain.__doc__ or "").replace("a system", name)
    return made


def check(config: Pretrain, inputs: Inputs) -> None:
    """Tell now what would otherwise be told after the download, or the training."""
    check_data(config)
    train.check(config.model, config.train)
    tokenizer.check(config.words, config.model.needs.tokenizer)
    if config.capfilt is not None:
        check_longest(config.capfilt, config.model.needs)
    if config.dual is not None:
        if inputs.retrieval is None:
            raise UserError(f"--dual {config.dual}: it brings candidates for --eval.retrieval; give that too")
        evaluate.check_dual(config.model, config.dual)
    classes = None if config.eval.classes is None else Classes.read(config.eval.classes)
    if config.eval.zero_shot is not None:
        check_labels(config.eval.zero_shot, classes)
    if inputs.retrieval or inputs.zero_shot:
        evaluate.check(
            config.model,
            config.register.metric,
            retrieval=inputs.retrieval is not None,
            zero_shot=inputs.zero_shot is not None,
            dual=config.dual is not None,
        )


def tell_fresh(config: Pretrain) -> None:
    """A line where parts begin fresh that the settings suppose to be trained."""
    given = sources_of(config.train.start)
    fresh = [part for part in config.starts if part not in given and None not in given]
    if fresh:
        sources = " ".join(f"{part}=SOURCE" for part in fresh)
        print(
            f"! the paper's settings are for trained parts, and {' and '.join(fresh)} will begin fresh: give "
            f"--train.start {sources}, or a --train.lr and --train.steps for that"
        )


def check_longest(settings: CapFilt, needs: Needs) -> None:
    """UserError where captions would be written that are longer than any that is read."""
    longest = settings.captions.longest
    if longest is not None and longest > needs.length:
        raise UserError(f"--capfilt.captions.longest {longest}: the recipe reads {needs.length} tokens; give no more")


def build(config: Pretrain) -> list[Step]:
    """The DAG. Without an evaluation set it ends at `train`; the report ends a branch of its own."""
    inputs = inputs_of(config)
    check(config, inputs)
    tell_fresh(config)

    data_set = fetched(config, inputs)
    images, sets = data_set.images, data_set.sets
    columns: dict[str, Step] = {}
    selection = selected(config, data_set, columns)
    page = reported(config, inputs, data_set, selection, columns)
    shards = step("shard", shard.run, images=images, selection=selection, shard=config.shard)
    # A recipe says which tokenizer it reads with; word pieces are made of the corpus, where none are named.
    pieces = {}
    if config.model.needs.tokenizer == "wordpiece":
        captioned = selection if config.words.start is None else None
        pieces["tokenizer"] = step("tokenizer", tokenizer.run, selection=captioned, words=config.words)

    def trained(name: str, chosen: Step, settings: Train) -> Step:
        data = {"images": images, "shards": shards, "selection": chosen, "data": config.data}
        return step(name, train.run, **data, **pieces, recipe=config.model, train=settings)

    if config.capfilt is not None and config.capfilt.bootstrap:
        first = trained("train-first", selection, replace(config.train, steps=config.capfilt.steps))
        selection = bootstrapped(config.capfilt, first, images, selection)
    model = trained("train", selection, config.train)
    if not sets:
        return [page, model]
    evaluation: dict[str, Any] = {**sets, "classes": inputs.classes}
    if config.dual is not None:
        evaluation["dual"] = config.dual
    scores = step("evaluate", evaluate.run, model=model, evaluate=config.evaluate, **evaluation)
    return [
        page,
        step(
            "register",
            register.run,
            model=model,
            scores=scores,
            selection=selection,
            register=config.register,
            evaluate=config.evaluate,
            registry=_registry(),
            **evaluation,
        ),
    ]


def bootstrapped(settings: CapFilt, model: Step, images: Step, selection: Step) -> Step:
    """The selection of those captions, of the web and of the model, that the model finds to match."""
    chosen = {"images": images, "selection": selection}
    written = step("captions", captions.run, model=model, **chosen, captions=settings.captions)
    return step("capfilt", capfilt.run, captions=written, **chosen, threshold=settings.threshold)


def _registry() -> str | None:
    """Where a model is registered is part of what registering is: another registry has yet to hear of it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return public_text(uri) if uri else None


def split_flag(words: list[str], name: str, default: str) -> tuple[str, list[str]]:
    """What a flag says, wherever it stands, and the other words: it decides what the other flags start from."""
    found, others, left = [], [], iter(words)
    for word in left:
        flag, given, value = word.partition("=")
        if flag == name:
            found.append((value if given else next(left, "")) or "(nothing)")
        else:
            others.append(word)
    if len(found) > 1:
        raise UserError(f"{name}: given twice; leave out one of them")
    return (found or [default])[0], others


HEADLINE = ("capfilt", "train", "evaluate")


def main(words: list[str]) -> int:
    """`pretrain.py NAME …`, or `pretrain.py --list`."""
    return ended(lambda: _asked(words))


def _asked(words: list[str]) -> int:
    from vlp_core.recipes.catalogue import RECIPES, recipe_of, table

    if words[:1] == ["--list"]:
        print(table())
        return OK
    if words[:1] in (["--help"], ["-h"]):
        print((__doc__ or "").strip())
        return OK
    if not words or words[0].startswith("-"):
        raise UserError(f"which recipe? pretrain.py NAME, where NAME is one of {', '.join(sorted(RECIPES))}")
    name = words[0]
    size, flags = split_flag(words[1:], "--size", "tiny")
    recipe = recipe_of(name, size)
    config = configuration(name, recipe)
    config.__doc__ = f"{config.__doc__} With --size paper, flags start from the settings of its paper."
    return run_pipeline(
        "pretrain",
        config,
        build,
        headline=HEADLINE,
        arguments=flags,
        run_name=name,
        common=Forecasting,
        run=run_or_forecast,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
