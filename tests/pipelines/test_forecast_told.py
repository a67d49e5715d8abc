"""What a forecast says: its table, its warnings, its run in MLflow, and what it refuses."""

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.forecasting.figures import PHASES, Figures, rows_of
from pipelines.forecasting.forecast import Forecast, run_or_forecast, untold_of
from pipelines.forecasting.room import KINDS
from pipelines.forecasting.settings import Forecasting, Sample
from pipelines.forecasting.warned import warnings_of
from pipelines.forecasting.yields import Drawn, Yields
from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.workflow.step import walk
from pipelines.workflow.tracking import store_of
from tests.pipelines.conftest import root_with
from tests.pipelines.rehearsing import forecast_of
from vlp_core.curation.settings import Filter, Select
from vlp_core.curation.unseen import Estimate
from vlp_core.errors import UserError


def _figures(within: Mapping[str, tuple[float, float]], **details: Any) -> Figures:
    """Of a hundred of everything, which is sure where it is not said between what it lies."""
    known = {each.name: within.get(each.name, (100, 100)) for each in fields(Yields)}
    return Figures(
        yields=Yields(**{name: Estimate(value=100, low=low, high=high) for name, (low, high) in known.items()}),
        room={**dict.fromkeys(KINDS, 0), "pictures": 5000},
        seconds={},
        details={"training": {}, "asked": {}, **details},
    )


@pytest.mark.parametrize(
    ("told", "within", "spread", "free"),
    [
        ("", {"fetched": (90, 110), "copies": (90, 110)}, 0.02, None),
        ("how many pictures there will be cannot be told from so few links", {"fetched": (60, 140)}, 0.02, None),
        ("how many copies there are cannot be told from so few links", {"copies": (60, 140)}, 0.02, None),
        ("train: its steps took so differently", {}, 0.2, None),
        ("the whole takes 5 kB and 3 kB are free", {}, 0.02, 3000),
    ],
)
def test_what_a_sample_is_too_small_to_tell_is_told_in_a_line(
    told: str, within: Mapping[str, tuple[float, float]], spread: float, free: int | None
) -> None:
    figures = _figures(within, training={"train": {"spread": spread}})
    warnings = list(warnings_of(figures, [], free))
    assert len(warnings) == bool(told) and all(told in warning for warning in warnings)


@pytest.mark.parametrize(
    ("parts", "mark"),
    [({"spread": 0.02}, ""), ({"spread": 0.2}, "≈ "), ({"spread": None}, "≈ "), (None, "≥ ")],
    ids=["steady steps", "unsteady ones", "one", "none"],
)
def test_hours_that_hang_on_steps_whose_time_is_not_known_are_marked_and_lead_to_the_warning(
    parts: Any, mark: str
) -> None:
    known, hour = _figures({}, training={"train": parts}), dict.fromkeys((*PHASES, "all"), 3600.0)
    figures = replace(known, seconds=hour, fixed={"training": 60.0})
    shown = {title: (told, note) for title, told, note, _ in rows_of(figures, None) if title.startswith("time, ")}
    see = ["see below"] * bool(mark)
    marked = {
        "training": (f"{mark}1:00:00", ", ".join(["1:00 of it fixed", *see])),
        "all": (f"{mark}1:00:00", "".join(see)),
    }
    plain = dict.fromkeys(hour, ("1:00:00", ""))
    assert shown == {f"time, {phase}": told for phase, told in (plain | marked).items()}
    warned = [line for line in warnings_of(figures, [], None) if "that their time is not known" in line]
    assert len(warned) == bool(mark)


def _of_links(folder: Path, **settings: Any) -> PretrainClip:
    (folder / "list.csv").write_text("url,caption\nhttp://a.test/1.jpg,a dog\n")
    return PretrainClip(source=(str(folder / "list.csv"),), **settings)


def test_what_the_pipeline_has_no_step_for_is_not_in_the_table(tmp_path: Path) -> None:
    """Such as evaluation pictures where there is no set of them."""
    steps = walk(build(_of_links(tmp_path)))
    assert untold_of({each.name: each for each in steps}) == {"evaluation"}
    assert not untold_of({each.name: each for each in walk(build(PretrainClip()))})
    assert untold_of({}) == {"passed", "copies", "evaluation", "selected", "captions"}
    whole, some = (rows_of(replace(_figures({}), untold=untold), None) for untold in ((), {"evaluation"}))
    assert [row[0] for row in whole if row not in some] == ["… and evaluation pictures"]


def test_what_no_sample_shows_of_the_whole_is_told_in_a_line_each(tmp_path: Path) -> None:
    """A host that has many links and holds them up, and what counts who else has a caption, or matches an entry."""
    (tmp_path / "entries.txt").write_text("dog\n")
    asking = {"select": Select(balance=tmp_path / "entries.txt"), "filter": Filter(rules=("shared<=10",))}
    lines = ["most.test has 1,001 of 4,000 links", "'shared' counts who else has a caption", "balancing is by how many"]
    for settings, links, told in (({}, 1000, []), (asking, 1001, lines)):
        busiest = {"download": {"host": "most.test", "links": links}}
        figures = _figures({}, asked={"download": {"listed": 4000}}, busiest_hosts=busiest)
        warnings = list(warnings_of(figures, walk(build(_of_links(tmp_path, **settings))), None))
        assert len(warnings) == len(told)
        assert all(text in warning for text, warning in zip(told, warnings, strict=True))


def test_a_forecast_says_what_is_left_of_the_disk_and_is_a_run_in_mlflow(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    root = root_with(store, tmp_path / "root")
    Forecast(forecast_of(PretrainClip(), root), Sample(links=20, steps=10))._tell(_figures({}), None, [])
    printed = capsys.readouterr().out
    assert "leaves " in printed and f"that are free in {root}\n" in printed
    assert "forecast of 20 links a list: " in printed  # and no steps where nothing is trained
    client = mlflow.MlflowClient(store_of(root))
    experiment = client.get_experiment_by_name("pretrain-clip")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`vlp.forecast` = 'true'")
    assert (run.data.metrics["forecast/selected"], run.data.metrics["forecast/disk_bytes/pictures"]) == (100, 5000)
    assert "| links of the list | 100 |" in run.data.tags["mlflow.note.content"]


def test_unless_told_otherwise_a_thousand_links_are_asked_and_fifty_steps_trained() -> None:
    usual = Forecasting(forecast=True)
    assert (usual.forecast_links, usual.forecast_steps) == (1000, 50)


def test_the_models_of_a_sample_go_to_a_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = "sqlite:///team.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", team)
    stores: dict[Path, tuple[str, str | None]] = {}

    def make(_: Forecast, root: Path, *__: object) -> int:
        stores[root] = store_of(root), os.environ.get("MLFLOW_REGISTRY_URI")
        return int(root != tmp_path)  # of a sample that fails nothing is told

    monkeypatch.setattr(Forecast, "_make", make)
    monkeypatch.setattr(Forecast, "_drawn", lambda *_: Drawn(asked=20, listed=20))
    assert run_or_forecast(forecast_of(_of_links(tmp_path), tmp_path)) == 1
    own = tmp_path / "forecast"
    assert stores == {tmp_path: (team, team), own: (f"sqlite:///{own}/mlflow.db", None)}
    assert (store_of(own), os.environ["MLFLOW_REGISTRY_URI"]) == (team, team)


def test_what_no_forecast_can_do_is_told_in_a_line(tmp_path: Path) -> None:
    for flags, says in (
        ({"forecast_links": 500}, "give --forecast too"),
        ({"forecast": True, "explain": True}, "--forecast and --explain"),
        ({"forecast": True, "forecast_steps": 2}, "--forecast-steps 2"),
    ):
        with pytest.raises(UserError, match=says):
            Forecasting(**flags)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "list.csv").write_text("file_name,caption\na.jpg,a dog\n")
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    config = PretrainClip(source=(str(tmp_path / "photos"),))
    root = tmp_path / "root"
    with pytest.raises(UserError, match="there are none to ask"):
        run_or_forecast(forecast_of(config, root))
    assert not root.exists()
