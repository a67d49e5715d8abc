"""What is refused before it begins leaves no folder of results behind: its name may be mistyped."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipelines import refresh_data, takedown
from pipelines.forecasting.forecast import run_or_forecast
from pipelines.forecasting.settings import Forecasting
from pipelines.pretrain import build
from pipelines.pretrain_clip import PretrainClip
from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.ending import USAGE_FAULT, USER_FAULT


def pretrain(words: Sequence[str]) -> int:
    return run_pipeline("pretrain-clip", PretrainClip, build, arguments=words, common=Forecasting, run=run_or_forecast)


REFRESH = ("--into", "photos", "--source", "list.csv")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("main", "words", "says"),
    [
        (pretrain, ["--source", "releases:photos"], "releases:photos: no such release in"),
        (pretrain, ["--source", "releases:photos", "--forecast"], "releases:photos: no such release in"),
        (pretrain, ["--source", "list.csv", "--until", "selct"], "--until selct: no such step"),
        (pretrain, ["--source", "list.csv", "--fetch.never-store", "none.txt"], "none.txt"),
        (refresh_data.main, ["--into", "photos", "--source", "none.csv"], "none.csv: no such file"),
        (refresh_data.main, ["--into", "photos", "--verify"], "releases:photos: no such release in"),
        (refresh_data.main, [*REFRESH, "--into=photos@2"][2:], "--into photos@2: the next is photos@1"),
        (refresh_data.main, [*REFRESH, "--until", "relase"], "--until relase: no such step"),
        (refresh_data.main, [*REFRESH, "--fetch.never-store", "none.txt"], "none.txt"),
        (takedown.main, ["not a name", "--anyway"], "is neither a url, a host, a sha256 nor a file"),
        (takedown.main, ["--purge", "--anyway"], "there is no such folder"),
    ],
)
def test_no_root_is_made_for_what_is_refused(
    main: Callable[[Sequence[str]], int],
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.csv").write_text("url,caption\nhttp://a.test/1.jpg,a dog\n")
    assert main([*words, "--root", "new/root"]) == (USAGE_FAULT if "--until" in words else USER_FAULT)
    assert says in capsys.readouterr().err and not Path("new").exists()


def test_a_takedown_of_what_a_new_root_does_not_know_yet_makes_it(tmp_path: Path) -> None:
    assert takedown.main(["example.org", "--anyway", "--root", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "takedowns.parquet").exists()
