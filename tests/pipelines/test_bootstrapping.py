"""The DAG of recipes that bootstrap their captions, as it is planned."""

from dataclasses import replace

import pytest

from pipelines.pretrain import build, configuration
from pipelines.workflow.step import Step, identify, walk
from vlp_core.curation.settings import CapFilt, Captions
from vlp_core.errors import UserError
from vlp_core.recipes.catalogue import RECIPES, recipe_of
from vlp_core.train.settings import Train

STEPS = ("train-first", "captions", "capfilt")


def steps_of(name: str, **changed: object) -> dict[str, Step]:
    config = configuration(name, recipe_of(name))(**changed)
    return {step.name: step for step in walk(build(config))}


def fingerprints(steps: dict[str, Step]) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, step in steps.items():
        made[name] = identify(step, lambda other: {"result": made[other.name]}, lambda path: str(path)).fingerprint
    return made


def test_a_first_model_captions_what_the_second_is_trained_on_and_registered_with() -> None:
    steps = steps_of("blip", train=Train(steps=90, lr=3e-4), capfilt=CapFilt(steps=40))
    order = list(steps)
    assert order[order.index("tokenizer") : order.index("evaluate")] == ["tokenizer", *STEPS, "train"]
    first, second, chosen = steps["train-first"].inputs, steps["train"].inputs, steps["capfilt"]
    assert first["train"] == replace(second["train"], steps=40) and second["train"].steps == 90
    assert first["selection"] is steps["select"] and second["selection"] is chosen
    same = first.keys() - {"selection", "train"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert not second["train"].start  # it is fresh
    assert steps["captions"].inputs["model"] is steps["train-first"]
    assert chosen.inputs["captions"] is steps["captions"] and chosen.inputs["selection"] is steps["select"]
    assert steps["register"].inputs["selection"] is chosen
    assert steps["tokenizer"].inputs["selection"] is steps["select"]


def test_recipes_that_do_not_bootstrap_have_neither_the_steps_nor_the_settings() -> None:
    for name, module in RECIPES.items():
        config = configuration(name, module.TINY)()
        assert ("capfilt" in vars(config)) == (module.TINY.capfilt is not None), name
        assert (set(STEPS) <= set(steps_of(name))) == (module.TINY.capfilt is not None), name
    assert not set(STEPS) & set(steps_of("blip", capfilt=CapFilt(steps=7, bootstrap=False)))


def test_more_steps_of_the_second_model_carry_it_on_and_leave_the_first_as_it_is() -> None:
    paper = recipe_of("blip", "paper")
    few, many = (
        fingerprints(steps_of("blip", train=replace(paper.train, steps=steps), capfilt=paper.capfilt))
        for steps in (paper.train.steps, 200_000)
    )
    assert [name for name in few if few[name] != many[name]] == ["train", "evaluate", "register"]


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        (CapFilt(steps=8), "train-first"),
        (CapFilt(steps=7, captions=Captions(p=0.5)), "captions"),
        (CapFilt(steps=7, threshold=0.6), "capfilt"),
        (CapFilt(steps=7, captions=Captions(batch_size=1, workers=1, gpu=False)), None),
    ],
)
def test_a_setting_makes_what_stands_on_it_again_and_no_more(settings: CapFilt, begins: str | None) -> None:
    before, after = (fingerprints(steps_of("blip", capfilt=chosen)) for chosen in (CapFilt(steps=7), settings))
    changed = [name for name in after if before[name] != after[name]]
    tail = [*STEPS, "train", "evaluate", "register"]
    assert changed == ([] if begins is None else tail[tail.index(begins) :])


def test_captions_longer_than_the_recipe_reads_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"--capfilt\.captions\.longest 31: the recipe reads 30 tokens"):
        steps_of("blip", capfilt=CapFilt(steps=7, captions=Captions(longest=31)))
