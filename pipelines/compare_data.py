#!/usr/bin/env python
"""Which rules select the data that trains the better model: one recipe, at equal compute, on what each selects.

pipelines/compare_data.py --rules all datacomp_basic 'datacomp_basic,shared<=10'          # on the embedded corpus
pipelines/compare_data.py --source pairs.parquet --eval.retrieval test.parquet --score.model ViT-B-32:clip.pt \\
    --rules datacomp_basic 'strict:datacomp_basic,clip>=top30%' --seeds 5 --root /data/runs
pipelines/compare_data.py --recipe albef --size tiny --help                               # every flag
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

from jobs import compare, evaluate, report, same, tokenizer, train, trial
from pipelines.data import Curate, DataSet, check_data, fetched, inputs_of, reported, selected
from pipelines.pretrain import split_flag
from pipelines.workflow.cli import open_root, parse, run_pipeline
from pipelines.workflow.ending import ended
from pipelines.workflow.plan import folders_made
from pipelines.workflow.registered import resolved
from pipelines.workflow.step import Step, step, walk
from vlp_core.curation.arms import Arm, first_alike, parse_arms
from vlp_core.curation.settings import EVERY_PAIR, Filter
from vlp_core.data.settings import Data, Words
from vlp_core.errors import UserError
from vlp_core.evals.classes import Classes, check_labels
from vlp_core.evals.settings import Evaluate
from vlp_core.recipes.recipe import Recipe
from vlp_core.train.settings import Train


@dataclass(frozen=True, kw_only=True)
class CompareData(Curate):
    """Compare selections by what a recipe learns of each. Without --source: of the embedded corpus, whose faults are
    known."""

    rules: tuple[str, ...] = ("all", "datacomp_basic", "datacomp_basic,shared<=10")
    """The arms: rules and sets of rules with commas between them, `all` for none, and a name before a colon where one
    is wanted (strict:datacomp_basic,clip>=.3)."""
    seeds: int = 3
    """Models that are trained on each selection, with seeds from --train.seed on."""
    metric: str | None = None
    """The score that decides, higher is better; none given: retrieval/text_to_image_r@10 where there is one, else
    zero_shot/top1."""
    words: Words = Words()
    model: Any = None
    train: Train = Train()
    data: Data = Data()
    evaluate: Evaluate = Evaluate()

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UserError(f"--seeds {self.seeds}: give 1 or more")
        parse_arms(self.rules)


def configuration(recipe: Recipe) -> type[CompareData]:
    """The configuration of a recipe: its settings are the defaults."""
    fields: list[tuple[str, type, Any]] = [
        ("model", type(recipe.system), recipe.system),
        ("train", Train, recipe.train),
        ("data", Data, recipe.data),
    ]
    made = make_dataclass("CompareData", fields, bases=(CompareData,), frozen=True, kw_only=True)
    made.__doc__ = f"{CompareData.__doc__} --recipe NAME and --size tiny or paper say what is trained (a tiny clip)."
    return made


def check(config: CompareData, sets: dict[str, bool]) -> None:
    """Tell now what would otherwise be told after the download, or the training."""
    if config.filter.rules != Filter().rules:
        raise UserError("--filter.rules: each of --rules is an arm with rules of its own; leave it out")
    for arm in parse_arms(config.rules):
        check_data(of_arm(config, arm))
    train.check(config.model, config.train)
    if not any(sets.values()):
        raise UserError("selections are compared by scores: give --eval.retrieval LIST too")
    if config.eval.zero_shot is not None:
        check_labels(config.eval.zero_shot, None if config.eval.classes is None else Classes.read(config.eval.classes))
    evaluate.check(config.model, config.metric, **sets, dual=False, flag="--metric")


def of_arm(config: CompareData, arm: Arm) -> CompareData:
    return replace(config, filter=replace(config.filter, rules=arm.rules or (EVERY_PAIR,)))


def build(config: CompareData) -> list[Step]:
    """One DAG: what no rule changes is made once, and each arm's steps end in its name."""
    inputs = inputs_of(config)
    check(config, {"retrieval": inputs.retrieval is not None, "zero_shot": inputs.zero_shot is not None})
    data_set = fetched(config, inputs)
    arms, columns = parse_arms(config.rules), dict[str, Step]()
    first = first_alike(arms)
    made = [arm for arm in arms if first[arm.name] is arm]
    selections = {arm.name: selected(of_arm(config, arm), data_set, columns, f"-{arm.name}") for arm in made}
    twins = alike(selections)
    pages = [
        reported(
            of_arm(config, arm), inputs, data_set, selections[arm.name], columns, f"-{arm.name}", twins.get(arm.name)
        )
        for arm in made
    ]
    evaluation = {**data_set.sets, "classes": inputs.classes}
    trials = {
        name: tried(config, data_set, selection, name, twins.get(name), evaluation)
        for name, selection in selections.items()
    }
    compared = step(
        "compare",
        compare.run,
        images=data_set.images,
        arms=arms,
        selections=tuple(selections[first[arm.name].name] for arm in arms),
        trials=tuple(model for arm in arms for model in trials[first[arm.name].name]),
        seeds=config.seeds,
        metric=config.metric,
        truth=inputs.truth,
    )
    return [*pages, compared]


def alike(selections: Mapping[str, Step]) -> dict[str, Step]:
    """For each arm after the first: whether one before it turns out to select the same."""
    names, folders = tuple(selections), tuple(selections.values())
    return {
        name: step(f"same-{name}", same.run, selection=folders[number], earlier=folders[:number], names=names[:number])
        for number, name in enumerate(names)
        if number
    }


def tried(
    config: CompareData, data_set: DataSet, selection: Step, arm: str, twin: Step | None, evaluation: dict[str, Any]
) -> list[Step]:
    """A model a seed, but for an arm whose `twin` has them. Steps, batches and rates are every arm's: equal compute."""
    pieces = {} if twin is None else {"same": twin}
    if config.model.needs.tokenizer == "wordpiece":
        pieces["tokenizer"] = step(f"tokenizer-{arm}", tokenizer.run, selection=selection, words=config.words)
    return [
        step(
            f"train-{arm}-{seed}",
            trial.run,
            images=data_set.images,
            selection=selection,
            recipe=config.model,
            train=replace(config.train, seed=seed),
            data=config.data,
            evaluate=config.evaluate,
            **pieces,
            **evaluation,
        )
        for seed in range(config.train.seed, config.train.seed + config.seeds)
    ]


def main(words: list[str]) -> int:
    return ended(lambda: _compared(words))


def _compared(words: list[str]) -> int:
    from vlp_core.recipes.catalogue import recipe_of

    name, flags = split_flag(words, "--recipe", "clip")
    size, flags = split_flag(flags, "--size", "tiny")
    config = configuration(recipe_of(name, size))
    code = run_pipeline("compare-data", config, noted, headline=("compare",), arguments=flags)
    return code or told(config, flags)


def told(config: type[CompareData], flags: list[str]) -> int:
    """Print the table, where it is made, and where to look: not after --explain or --until."""
    settings, workflow = parse(config, flags, "compare-data")
    if not workflow.explain:
        root = open_root(workflow.root, look_only=True)
        made = folders_made(walk(build(resolved(settings, root))), root)
        if "compare" in made and workflow.until in (None, "compare"):
            table, *said = (made["compare"] / compare.TABLE).read_text().rstrip().split("\n\n")
            print("\n" + "\n\n".join([table, _places(settings, made), *said]))
    return 0


def _places(settings: CompareData, made: Mapping[str, Path]) -> str:
    """Where the picture lies, and each arm's page."""
    pages = [(arm.name, made.get(f"report-{arm.name}")) for arm in first_alike(parse_arms(settings.rules)).values()]
    lines = [("picture", made["compare"] / compare.PICTURE)]
    lines += [(f"page of {name}", folder / report.PAGE) for name, folder in dict(pages).items() if folder is not None]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {path}" for name, path in lines)


def noted(config: CompareData) -> list[Step]:
    """The plan, and a line for each arm that asks what another does."""
    for name, first in first_alike(arms := parse_arms(config.rules)).items():
        if name != first.name:
            arm = next(arm for arm in arms if arm.name == name)
            print(f"! {name} ({arm}) asks what {first.name} ({first}) does: trained once, counted once, one page")
    return build(config)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
