"""The DAG of a comparison: what arms share, what is their own, and that they are trained alike."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.compare_data import CompareData, build, configuration, main, noted
from pipelines.workflow.ending import USAGE_FAULT, USER_FAULT
from pipelines.workflow.step import Step, walk
from vlp_core.errors import UserError
from vlp_core.recipes import clip

CONFIG = configuration(clip.TINY)
RULES = ("all", "datacomp_basic", "some:words>2,shared<=10")
NAMES = ("all", "datacomp_basic", "some")


def steps_of(config: CompareData) -> dict[str, Step]:
    return {found.name: found for found in walk(build(config))}  # which refuses two steps of one name


def test_arms_share_what_no_rule_changes_and_are_trained_alike() -> None:
    steps = steps_of(CONFIG(rules=RULES, seeds=2, train=replace(clip.TINY.train, seed=7)))
    own = {f"{step}-{arm}" for step in ("filter", "dedup", "select", "report") for arm in NAMES}
    trials = [f"train-{arm}-{seed}" for arm in NAMES for seed in (7, 8)]
    endings = ("", "-retrieval", "-zero-shot")
    shared = {f"{step}{end}" for step in ("ingest", "download", "hash") for end in endings}
    shared |= {"corpus", "near", "matches-retrieval", "matches-zero-shot"}
    own |= {"same-datacomp_basic", "same-some"}
    shared |= {"measure", "measure-language", "measure-shared", "compare"}
    assert set(steps) == {*own, *trials, *shared}
    compared = steps["compare"].inputs
    assert [step.name for step in compared["trials"]] == trials
    assert [step.name for step in compared["selections"]] == [f"select-{arm}" for arm in NAMES]
    assert [str(arm) for arm in compared["arms"]] == ["all", "datacomp_basic", "words>2, shared<=10"]
    alike = [dict(steps[name].inputs) for name in trials]
    for number, inputs in enumerate(alike):
        assert inputs.pop("selection") is steps[f"select-{NAMES[number // 2]}"]
        inputs["train"] = replace(inputs["train"], seed=0)
        assert inputs.pop("same", None) is steps.get(f"same-{NAMES[number // 2]}")
    assert all(inputs == alike[0] for inputs in alike)
    assert steps["report-some"].inputs["same"] is steps["same-some"] and "same" not in steps["report-all"].inputs
    assert steps["same-some"].inputs["earlier"] == (steps["select-all"], steps["select-datacomp_basic"])
    assert [steps[f"train-some-{seed}"].inputs["train"].seed for seed in (7, 8)] == [7, 8]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--rules", "datacomp_basik"], "rule 'datacomp_basik' is not known; did you mean 'datacomp_basic'"),
        (["--rules", "clip>=0.3"], "rule 'clip>=0.3' compares what a model says: give --score.model too"),
        (["--rules", "words>2", "language=eng"], "rule 'language=eng': the detector gives no language 'eng'; near it"),
        (["--filter.rules", "words>2"], "--filter.rules: each of --rules is an arm"),
        (["--seeds", "0"], "--seeds 0: give 1 or more"),
        (["--source", "pairs.csv"], "selections are compared by scores: give --eval.retrieval LIST too"),
        (["--metric", "zero_shot/top2"], "--metric zero_shot/top2: no such score"),
        (["--recipe", "clop"], "clop: no such recipe; did you mean 'clip'"),
    ],
)
def test_what_cannot_be_compared_is_one_line_before_anything_is_made(
    flags: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.csv").write_text("url,caption\nhttp://a.test/1.jpg,a caption\n")
    assert main([*flags, "--root", str(tmp_path / "root")]) in (USER_FAULT, USAGE_FAULT)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {says}") and said.count("\n") == 1
    assert not list((tmp_path / "root").glob("*/*"))


def test_arms_that_ask_the_same_are_one_and_the_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG(rules=("words>2,chars>5", "other:chars>5,words>2.0", "all"), seeds=1)
    steps = {found.name: found for found in walk(noted(config))}
    assert capsys.readouterr().out.splitlines() == [
        "! other (chars>5, words>2.0) asks what words-gt-2_chars-gt-5 (words>2, chars>5) does: "
        "trained once, counted once, one page"
    ]
    assert not [name for name in steps if "other" in name]
    compared = steps["compare"].inputs
    assert compared["selections"][0] is compared["selections"][1] is not compared["selections"][2]
    assert compared["trials"][0] is compared["trials"][1] is not compared["trials"][2]


def test_the_rules_are_known_before_the_plan() -> None:
    with pytest.raises(UserError, match="another arm is named 'all'"):
        CONFIG(rules=("all", "all"))
