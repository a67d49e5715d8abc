"""Systems one after another on one cluster, and the table that compares them with what they were before."""

import json
from pathlib import Path

import pytest

from pipelines import systems
from pipelines.pretrain import configuration
from pipelines.workflow.cli import parse
from pipelines.workflow.step import walk
from vlp_core.comparison import Trained
from vlp_core.errors import UserError
from vlp_core.evals.names import MARGINS, own_metric
from vlp_core.evals.settings import Evaluate
from vlp_core.lines import added_lines
from vlp_core.recipes.catalogue import RECIPES, recipe_of


def test_the_untrained_self_is_scored_as_the_trained_one_is() -> None:
    config = configuration("vilt", recipe_of("vilt"))
    steps = {found.name: found for found in walk(systems.with_untrained(config()))}
    assert steps["untrained"].inputs["model"] is steps["train"]
    trained, untrained = dict(steps["evaluate"].inputs), dict(steps["evaluate-untrained"].inputs)
    assert trained.pop("model") is steps["train"] and untrained.pop("model") is steps["untrained"]
    assert trained == untrained


def test_systems_that_are_scored_on_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("url,caption\n")
    config = configuration("vilt", recipe_of("vilt"))
    with pytest.raises(UserError, match=r"give --eval\.retrieval LIST"):
        systems.with_untrained(config(source=(tmp_path / "pairs.csv",)))


def test_a_system_that_is_not_there_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert systems.main(["--only", "vlit"]) == 2
    assert capsys.readouterr().err == "error: vlit: no such recipe; did you mean 'vilt'?\n"


@pytest.mark.parametrize(("name", "ranks"), [("vilt", True), ("albef", False), ("virtex", False), ("siglip", False)])
def test_a_fusion_alone_ranks_what_another_model_brings(name: str, ranks: bool) -> None:
    assert systems.ranks_anothers(name) is ranks


def test_one_that_fails_keeps_no_other_from_its_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even CLIP, which brings candidates for ViLT."""
    asked: list[tuple[str, list[str]]] = []

    def fails(name: str, words: list[str]) -> tuple[int, dict[str, Path], Evaluate]:
        asked.append((name, words))
        return 1, {}, Evaluate()

    monkeypatch.setattr(systems, "make", fails)
    assert systems.main(["--only", "clip", "vilt"]) == 1
    assert asked == [("clip", []), ("vilt", [])]
    assert capsys.readouterr().err.count("not in the table, for it failed") == 2


def test_what_was_only_explained_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert systems.main(["--only", "virtex", "--explain", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("evaluate-untrained") == 1 and "| system |" not in said


@pytest.mark.parametrize(
    ("scores", "metric"),
    [
        ({"captions/cider": 1.0, "zero_shot/top1": 1.0}, "captions/cider"),
        ({"retrieval/text_to_image_r@10": 1.0}, "retrieval/text_to_image_r@10"),
        (
            {"retrieval/text_to_image_r@10": 1.0, "retrieval_dual/text_to_image_r@10": 1.0, "matching/accuracy": 1.0},
            "retrieval/text_to_image_r@10",
        ),
        ({"retrieval/text_to_image_r@10": 1.0, "matching/accuracy": 1.0}, "matching/accuracy"),
    ],
)
def test_a_system_has_learnt_when_it_is_ahead_of_itself_by_the_margin(scores: dict[str, float], metric: str) -> None:
    def trained(before: float) -> Trained:
        start = scores | {metric: before}
        folders = {"model": Path(), "retrieval": Path(), "evaluate": Evaluate()}
        return Trained(name="it", **folders, scores=scores, before=start, seconds=1.0)

    assert own_metric(scores) == metric
    assert trained(1 - MARGINS[metric] - 0.01).learnt and not trained(1 - MARGINS[metric] + 0.01).learnt


@pytest.mark.parametrize("name", systems.VARIANTS)
def test_a_variant_is_a_recipe_with_other_settings_and_a_name_of_its_own(name: str) -> None:
    recipe, flags = systems.VARIANTS[name]
    settings, _ = parse(configuration(name, recipe_of(recipe)), list(flags), name)
    assert settings.model != recipe_of(recipe).system and settings.register.name == name not in RECIPES
    assert added_lines([recipe, name])[name] == 0


def test_bootstrapping_is_a_part_of_what_training_took(tmp_path: Path) -> None:
    took = {"train-first": 5.0, "captions": 2.0, "train": 4.0, "evaluate": 50.0, "evaluate-untrained": 50.0}
    folders = {name: tmp_path / name for name in (*took, "download-retrieval")}
    for name, seconds in took.items():
        folders[name].mkdir()
        (folders[name] / "_RUN.json").write_text(json.dumps({"started": 1.0, "finished": 1.0 + seconds}))
        (folders[name] / "scores.json").write_text('{"captions/cider": 1.0, "data_digest": "da7a"}')
    made = systems.made_of("blip", folders, Evaluate(candidates=5))
    assert made.seconds == 11 and made.evaluate.candidates == 5 and made.scores == {"captions/cider": 1.0}


def test_lines_are_counted_once_by_the_first_system_that_needs_them() -> None:
    one = {name: added_lines([name])[name] for name in RECIPES}
    for order in (sorted(RECIPES), sorted(RECIPES, reverse=True)):
        added = added_lines(order)
        assert added[order[0]] == one[order[0]]
        assert all(0 < added[name] <= one[name] for name in RECIPES)
    assert sum(added_lines(sorted(RECIPES)).values()) == sum(added_lines(sorted(RECIPES, reverse=True)).values())
