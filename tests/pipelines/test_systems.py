"""Systems one after another on one cluster, and the table that compares them with what they were before."""

import re
from pathlib import Path

import pytest

from pipelines.workflow.tracking import store_of
from tests.pipelines.conftest import PROJECT, Command, root_with
from vlp_core.evals.names import MARGINS, own_metric
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.recipes.comparison import Trained
from vlp_core.recipes.lines import added_lines

PIPELINE = PROJECT / "pipelines" / "systems.py"
SMALL = (
    *("--corpus.scenes", "120", "--corpus.retrieval", "24", "--corpus.per-class", "1"),
    *("--corpus.per-held-out-class", "1", "--ingest.shard-size", "100", "--fetch.retries", "1"),
    *("--fetch.pause-s", "0.1", "--train.steps", "4", "--train.batch-size", "16", "--train.log-every", "2"),
)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, cluster: str, store: Path) -> tuple[Command, str]:
    """ViLT, and CLIP for its candidates, after steps too few to learn anything."""
    command = Command(PIPELINE, root_with(store, tmp_path_factory.mktemp("systems") / "root"), cluster, SMALL)
    return command, command("--only", "vilt", code=1)


def test_the_table_has_a_row_a_system_and_who_has_learnt_nothing_is_named(compared: tuple[Command, str]) -> None:
    _, said = compared
    (row,) = re.findall(r"^\| vilt \| [\d.]+ M \| [\d.]+ \+ [\d.]+ \| matching/accuracy \|.*$", said, re.MULTILINE)
    assert len(row.split("|")) == len(re.findall(r"^\| system .*$", said, re.MULTILINE)[0].split("|"))
    assert re.search(r"^\| vilt \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", said, re.MULTILINE)
    assert "error: vilt: matching/accuracy" in said and "| clip |" not in said


def test_all_systems_are_runs_of_one_experiment_with_the_same_names_for_the_same_metrics(
    compared: tuple[Command, str],
) -> None:
    import mlflow

    client = mlflow.MlflowClient(store_of(compared[0].root))
    experiment = client.get_experiment_by_name("pretrain")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = {run.info.run_name: run for run in runs if "mlflow.parentRunId" not in run.data.tags}
    assert set(parents) == {"clip", "vilt"}
    shared = set.intersection(*(set(run.data.metrics) for run in parents.values()))
    recall = "retrieval/text_to_image_r_1"
    assert {f"evaluate/{recall}", f"evaluate-untrained/{recall}", "train/loss"} <= shared
    reused = {run.info.run_name for run in runs if run.data.tags.get("vlp.reused") == "true"}
    assert {"download", "select", "hash"} <= reused


def test_a_system_that_is_not_there_is_told_with_the_nearest(cluster: str, tmp_path: Path) -> None:
    assert "vlit: no such recipe; did you mean 'vilt'?" in Command(PIPELINE, tmp_path, cluster)(
        "--only", "vlit", code=2
    )


@pytest.mark.parametrize(
    ("scores", "metric"),
    [
        ({"captions/cider": 1.0, "zero_shot/top1": 1.0}, "captions/cider"),
        ({"retrieval/text_to_image_r@10": 1.0, "zero_shot/top1": 1.0}, "retrieval/text_to_image_r@10"),
        ({"retrieval/text_to_image_r@1": 1.0, "matching/accuracy": 1.0}, "matching/accuracy"),
    ],
)
def test_a_system_has_learnt_when_it_is_ahead_of_itself_by_the_margin(scores: dict[str, float], metric: str) -> None:
    def trained(before: float) -> Trained:
        start = scores | {metric: before}
        return Trained(name="it", model=Path(), retrieval=Path(), scores=scores, before=start, seconds=1.0)

    assert own_metric(scores) == metric
    assert trained(1 - MARGINS[metric] - 0.01).learnt and not trained(1 - MARGINS[metric] + 0.01).learnt


def test_lines_are_counted_once_by_the_first_system_that_needs_them() -> None:
    one = {name: added_lines([name])[name] for name in RECIPES}
    for order in (sorted(RECIPES), sorted(RECIPES, reverse=True)):
        added = added_lines(order)
        assert added[order[0]] == one[order[0]]
        assert all(0 < added[name] <= one[name] for name in RECIPES)
    assert sum(added_lines(sorted(RECIPES)).values()) == sum(added_lines(sorted(RECIPES, reverse=True)).values())
