"""The steps of models in the DAG: made once, whatever rules ask, and only where one is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.data import Curate, DataSet, fetched, inputs_of, selected
from pipelines.workflow.outside import Digests
from pipelines.workflow.step import Step, identify, walk
from tests.vlp_core.evals.builders import model_folder
from vlp_core.curation.score_settings import Score, Semantic
from vlp_core.curation.settings import Filter
from vlp_core.errors import UserError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(model_folder(tmp_path_factory.mktemp("scores") / "model", 3))


def data_set(config: Curate) -> DataSet:
    return fetched(config, inputs_of(config))


def steps_of(config: Curate) -> dict[str, Step]:
    return {step.name: step for step in walk([selected(config, data_set(config))])}


def fingerprint(step: Step, memory: Path) -> str:
    return identify(
        step, lambda found: {"step": found.name, "content": ""}, Digests(memory / "digests.json").of
    ).fingerprint


def test_rules_compare_the_scores_and_other_rules_score_nothing_anew(model: str, tmp_path: Path) -> None:
    plain = Curate(score=Score(model=model), filter=Filter(rules=("clip>=0.2",)))
    asked = replace(plain, filter=Filter(rules=("clip>=top30%", "unsafe<=0.5")), score=Score(model=model, workers=1))
    worded = tmp_path / "prompts.json"
    worded.write_text(json.dumps({"unsafe": {"yes": ["nude"], "no": ["dressed"]}}))
    others = replace(asked, score=Score(model=model, prompts=worded))
    found = [steps_of(config) for config in (plain, asked, others)]
    assert all(steps["score"] in steps[name].dependencies for steps in found for name in ("filter", "dedup"))
    assert ["prompts" in steps for steps in found] == [False, True, True]
    assert len({fingerprint(steps["score"], tmp_path) for steps in found}) == 1
    assert fingerprint(found[1]["prompts"], tmp_path) != fingerprint(found[2]["prompts"], tmp_path)


def test_arms_share_what_models_say(model: str) -> None:
    config = Curate(score=Score(model=model), semantic=Semantic(epsilon=0.1))
    pictures, columns = data_set(config), {}
    rules = {"-a": ("clip>=0.2",), "-b": ("quality>=0.5", "clip>=0.3")}
    arms = [
        selected(replace(config, filter=Filter(rules=asked)), pictures, columns, arm) for arm, asked in rules.items()
    ]
    names = [step.name for step in walk(arms)]  # which refuses two steps of one name
    assert {"score", "prompts", "neighbours", "semantic-a", "semantic-b"} < set(names)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Curate(filter=Filter(rules=("laion5b",))), "rule 'clip>=0.28' compares what a model says: give --score.model"),
        (Curate(filter=Filter(rules=("watermark<=0.8",))), "rule 'watermark<=0.8' compares what a model says"),
        (Curate(semantic=Semantic(epsilon=0.1)), r"--semantic\.epsilon 0\.1: is for what a model sees"),
        (Curate(score=Score(prompts=Path("p.json"))), r"--score\.prompts p\.json: is for what a model sees"),
    ],
)
def test_what_asks_for_a_model_that_is_not_named_is_one_line(config: Curate, says: str) -> None:
    with pytest.raises(UserError, match=says):
        steps_of(config)
