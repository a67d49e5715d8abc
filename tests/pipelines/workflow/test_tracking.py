"""What MLflow is told survives a store that fails for a while, and never holds up the work."""

import errno
from pathlib import Path
from typing import Any

import pytest
import requests

from pipelines.workflow import tracking
from pipelines.workflow.later import may_pass
from pipelines.workflow.lock import Lock
from pipelines.workflow.tracking import Tracking, store_of
from pipelines.workflow.worker import Event
from tests.pipelines.conftest import root_with
from vlp_core.errors import UserError


class Faulty:
    """A client of a real store that refuses every call while it is down."""

    def __init__(self, client: Any) -> None:
        self.client, self.down, self.refused = client, False, 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.down:
                self.refused += 1
                raise ConnectionError("connection refused")
            return getattr(self.client, name)(*arguments, **options)

        return call


@pytest.fixture
def run(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    opened = Tracking(root_with(store, tmp_path / "root"), "toy")
    opened.open({"mark": "!"}, "toy.py")
    opened._client = Faulty(opened._client)
    return opened


def close(run: Tracking, tmp_path: Path, **headline: float) -> None:
    (tmp_path / "dag.png").write_bytes(b"png")
    run.close(status="FINISHED", pictures=[tmp_path / "dag.png"], headline=headline, note="")


def history(run: Tracking, of: str, name: str) -> list[tuple[int, float]]:
    import mlflow

    points = mlflow.MlflowClient(store_of(run.root)).get_metric_history(of, name)
    return sorted((point.step, point.value) for point in points)


def test_what_a_store_did_not_take_is_written_when_it_is_back(run: Tracking, tmp_path: Path) -> None:
    run.started("train", fingerprint="f", inputs={"lr": 1}, sources=())
    for at in range(6):
        run._client.down = 1 <= at < 4
        run._later._quiet_until *= at != 4  # the pause is over
        run.events([Event(step="train", kind="metrics", body={"values": {"loss": 1.0 / (at + 1)}, "at": at})])
    close(run, tmp_path)
    expected = [(at, 1.0 / (at + 1)) for at in range(6)]
    assert history(run, run.children["train"], "loss") == expected
    assert history(run, run.parent, "train/loss") == expected


def test_a_store_that_is_down_is_asked_once_and_then_left_alone_for_a_while(run: Tracking) -> None:
    run.started("train", fingerprint="f", inputs={}, sources=())
    run._client.down = True
    for at in range(50):
        run.events([Event(step="train", kind="metrics", body={"values": {"loss": 1.0}, "at": at})])
    assert run._client.refused == 1


def test_a_store_that_stays_down_ends_with_a_count_and_a_run_that_the_next_start_closes(
    run: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "LAST_S", 1.5)
    run._client.down = True
    run.started("train", fingerprint="f", inputs={}, sources=())
    close(run, tmp_path)
    assert "did not take" in capsys.readouterr().err
    Tracking(run.root, "toy").close_left_open()
    assert run._client.client.get_run(run.parent).info.status == "KILLED"


def test_a_call_that_the_store_will_never_take_does_not_hold_up_the_others(run: Tracking, tmp_path: Path) -> None:
    run.started("train", fingerprint="f", inputs={}, sources=())
    run._later.do(lambda: run._client.client.log_param(run.parent, "mark", "another"))  # a parameter never changes
    run.events([Event(step="train", kind="metrics", body={"values": {"loss": 1.0}, "at": 1})])
    assert history(run, run.children["train"], "loss") == [(1, 1.0)]


def test_a_store_that_refuses_for_good_is_not_asked_again() -> None:
    def refused(status: int) -> Exception:
        error: Exception = requests.HTTPError("no")
        error.response = requests.Response()  # type: ignore[attr-defined]
        error.response.status_code = status  # type: ignore[attr-defined]
        return error

    passing = [
        requests.ConnectionError("no"),
        TimeoutError(),
        OSError(errno.ENOSPC, "full"),
        refused(503),
        refused(429),
    ]
    assert all(may_pass(error) for error in passing)
    assert not any(may_pass(error) for error in (PermissionError("no"), ValueError("no"), refused(413), refused(403)))


def test_a_step_that_needs_its_run_waits_for_a_store_that_is_back_in_a_moment(run: Tracking) -> None:
    run._client.down = True
    run.events([Event(step="train", kind="metrics", body={"values": {"loss": 1.0}, "at": 1})])
    run._client.down = False  # the pause after the failure is not over
    assert run.started("evaluate", fingerprint="f", inputs={}, sources=()) == ""
    assert run.started("register", fingerprint="f", inputs={}, sources=(), needed=True)


def test_whatever_is_open_at_the_end_is_ended(run: Tracking, tmp_path: Path) -> None:
    run.started("train", fingerprint="f", inputs={}, sources=())
    run.started("train", fingerprint="f", inputs={}, sources=())  # as if the first had not been heard of
    close(run, tmp_path)
    client = run._client.client
    found = {run.info.run_name: run.info.status for run in client.search_runs([run.experiment])}
    assert found == {"toy": "FINISHED", "train": "KILLED"}


def test_a_headline_number_is_not_drawn_into_its_curve(run: Tracking, tmp_path: Path) -> None:
    run.started("train", fingerprint="f", inputs={}, sources=())
    run.events([Event(step="train", kind="metrics", body={"values": {"loss": 0.5}, "at": 30})])
    close(run, tmp_path, **{"train/loss": 0.4, "train/steps": 30.0})
    assert history(run, run.parent, "train/loss") == [(30, 0.5)]
    assert history(run, run.parent, "train/steps") == [(0, 30.0)]


def test_a_run_whose_driver_lives_is_left_open(run: Tracking) -> None:
    Tracking(run.root, "toy").close_left_open()
    assert run._client.client.get_run(run.parent).info.status == "RUNNING"


def test_credentials_of_a_store_are_neither_shown_nor_stored(run: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/x")
    again = Tracking(run.root, "toy")
    assert again.place == "http://127.0.0.1:9/x"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError) as told:  # MLflow's own words quote the address
        again.open({}, "")
    assert "secret" not in str(told.value)


def test_passwords_in_urls_that_a_run_is_given_are_not_stored(run: Tracking) -> None:
    source = "http://me:secret@h.test/set/{00..03}.tar"
    again = Tracking(run.root, "toy")
    again.open({"source": (source, source), "adopt": {"pictures": source}}, f"toy.py --source {source} {source}")
    again.started("adopt", fingerprint="f", inputs={"sources": [source]}, sources=())
    client = run._client.client
    runs = [client.get_run(found) for found in (again.parent, again.children["adopt"])]
    told = "".join(str(found.data.to_dictionary()) for found in runs)
    told += Path(client.download_artifacts(again.parent, "config.json")).read_text()
    assert told.count("http://h.test/set/{00..03}.tar") == 9 and "secret" not in told


def test_a_lock_file_of_another_store_is_kept_for_it(run: Tracking) -> None:
    left = run.root / ".runs" / "other"
    left.write_text('{"store": "http://127.0.0.1:9", "experiment": "1"}')
    Tracking(run.root, "toy").close_left_open()
    assert left.exists() and Lock(left).take()


def test_a_store_that_is_away_is_no_reason_to_fail_where_nothing_is_to_do(
    run: Tracking, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = run.root / ".runs" / "other"
    left.write_text('{"store": "http://127.0.0.1:9", "experiment": "1"}')
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    Tracking(run.root, "toy").close_left_open()
    assert left.exists() and "does not open" in capsys.readouterr().err
