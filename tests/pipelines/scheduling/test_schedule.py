"""The command: one line for what is wrong, what MLflow keeps of a run, who is told, and a scheduler that is killed."""

import errno
import json
import os
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipelines.schedule import Schedule, main, plan_of
from pipelines.scheduling import submission, telling
from pipelines.scheduling.attempt import command_of
from pipelines.scheduling.cron import Cron
from pipelines.scheduling.desk import Desk, Firing, Outcome, State
from pipelines.scheduling.room import Room
from pipelines.scheduling.scheduler import Plan, Scheduler
from pipelines.scheduling.telling import Hooks, Teller
from pipelines.workflow.ending import USAGE_FAULT, USER_FAULT
from pipelines.workflow.firings import token
from pipelines.workflow.tracking import BEGUN_BY, FINISHED, Tracking, store_of
from tests.pipelines.conftest import PROJECT, Command, missed_by, root_with
from tests.vlp_core.web.site import Site
from tests.waiting import until
from vlp_core.errors import UserError

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """One that takes a while, or ends with an error."""
    path = tmp_path / "pipeline.py"
    path.write_text(
        "import os, sys, time\n"
        "open(os.environ['VLP_ROOT'] + '/began', 'a').write('one\\n')\n"
        "time.sleep(float(sys.argv[1]))\n"
        "sys.exit(sys.argv[2] if sys.argv[2:] else 0)\n"
    )
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cron", "0 25 * * *", "--", "{}"], "--cron '0 25 * * *': hour '25' is none"),
        (["--cron", "0 25 * * *", "--once", "--", "{}"], "--cron '0 25 * * *': hour '25' is none"),
        (["--cron", "0 3 * * *", "--next", "-5"], "--next -5: give how many"),
        (["--cron", "0 3 * * *", "--next", "1", "--misfire-grace", "soon"], "--misfire-grace 'soon'"),
        (["--list", "--retry-pause", "soon"], "--retry-pause 'soon'"),
        (["--list", "--retries", "-1"], "--retries -1"),
        (["--list", "--timezone", "Mars/Olympus"], "--timezone 'Mars/Olympus'"),
        (["--", "{}"], "--cron: say when"),
        (["--once"], "nothing to run"),
        (["--once", "--", "no.py"], f"-- no.py: no such pipeline in {Path.cwd()}"),
        (["--once", "--name", "../x", "--", "{}"], "--name '../x'"),
        (["--once", "--misfire-grace", "soon", "--", "{}"], "--misfire-grace 'soon'"),
        (["--once", "--root", "a", "--", "{}", "--root=b"], "--root a: the pipeline has --root b"),
        (["--once", "--web-hook", "http://127.0.0.1:9", "--", "{}"], "a private address"),
        (["--once", "--allow-private", "x", "--", "{}"], "--allow-private 'x'"),
    ],
)
def test_one_line_for_what_is_wrong(
    words: list[str], said: str, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(pipeline) for word in words]) in (USER_FAULT, USAGE_FAULT)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") or said in error
    assert error.count("\n") == 1


def test_a_pipeline_is_looked_for_in_this_folder_and_then_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = "pipelines/refresh_data.py"
    assert command_of([file, "--keep", "5"]) == (str(PROJECT / file), "--keep", "5")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / file).touch()
    assert command_of([file]) == (str(tmp_path / file),)
    with pytest.raises(UserError, match=f"-- no.py: no such pipeline in {tmp_path} or {PROJECT}; give its"):
        command_of(["no.py"])


class Cluster:
    """Takes jobs."""

    entrypoint = ""

    def list_jobs(self) -> list[Any]:
        return []

    def get_address(self) -> str:
        return "http://me:secret@127.0.0.1:8265"

    def submit_job(self, entrypoint: str, **_: Any) -> str:
        self.entrypoint = entrypoint
        return "raysubmit_1"


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """We are in a folder with a list, and one called as the data set, and no other."""
    taken = Cluster()
    monkeypatch.setattr(submission, "_client", lambda: taken)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLP_ROOT", raising=False)
    Path("list.csv").touch()
    Path("photos").mkdir()
    return taken


@pytest.mark.parametrize(
    ("own", "pipeline", "environment", "root"),
    [
        (["--root", "a"], [], None, "a"),
        (["--root=a"], ["--root", "a"], None, "a"),
        ([], ["--root=a"], None, "a"),
        ([], [], "b", "b"),
        ([], [], None, "runs"),
        (["--root", "/data/runs"], [], "b", "/data/runs"),
    ],
)
def test_a_job_is_given_the_root_and_the_pipeline_by_paths_that_hold_there_too(
    own: list[str],
    pipeline: list[str],
    environment: str | None,
    root: str,
    jobs: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if environment:
        monkeypatch.setenv("VLP_ROOT", environment)
    words = ["pipelines/refresh_data.py", "--into", "photos", "--source", str(Path("list.csv").absolute()), "no.csv"]
    assert main(["--once", "--submit", *own, "--", *words, *pipeline]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("photos is job raysubmit_1: handed to the Ray cluster at http://127.0.0.1:8265; ")
    handed = shlex.split(jobs.entrypoint)
    given, begun = handed[2 : handed.index("--")], handed[handed.index("--") + 1 :]
    whole = str(Path(root).absolute())
    assert "--submit" not in given and begun[: len(words)] == words
    for said, spelt in ((given, own or ["--root", root]), (begun[len(words) :], pipeline)):
        assert said[-len(spelt) :] == [word.replace(root, whole) for word in spelt] if spelt else not said


def test_a_pipeline_that_is_not_the_projects_is_handed_over_by_its_whole_path(pipeline: Path, jobs: Cluster) -> None:
    assert main(["--once", "--submit", "--", pipeline.name, "0"]) == 0
    assert shlex.split(jobs.entrypoint)[-2:] == [str(pipeline), "0"]


@pytest.mark.parametrize("words", [["--source", "list.csv"], ["--source=list.csv"], ["--source", "x", "photos"]])
def test_what_a_job_would_not_find_from_its_own_working_directory_is_refused_before_it_is_handed_over(
    words: list[str], jobs: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--once", "--submit", "--", "pipelines/refresh_data.py", "--into", "photos", *words]) == 2
    path = words[-1].removeprefix("--source=")
    said = capsys.readouterr().err
    assert said.startswith(f"error: --submit: {path}: give an absolute path; ") and said.count("\n") == 1
    assert not jobs.entrypoint


def test_by_default_a_day_is_caught_up_on_a_failure_tried_twice_again_and_an_overlap_skipped(pipeline: Path) -> None:
    plan = plan_of(Schedule(cron="0 3 * * *"), [str(pipeline)])
    assert (plan.grace, plan.retries, plan.pause, plan.overlap) == (timedelta(days=1), 2, timedelta(minutes=10), "skip")


def test_by_hand_beside_a_run_that_is_going_it_is_skipped_in_a_line(
    pipeline: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = root_with(store, tmp_path / "runs")
    going = Desk(root, "photos").lane
    assert going.take()
    assert main(["--once", "--name", "photos", "--root", str(root), "--", str(pipeline), "0"]) == 0
    printed = capsys.readouterr().out
    assert "skipped: another run of it is still going" in printed and printed.count("\n") == 1
    assert not (root / "began").exists()


def test_by_hand_in_a_queue_it_waits_for_the_run_that_is_going_and_then_takes_place(
    pipeline: Path, store: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = root_with(store, tmp_path / "runs")
    desk = Desk(root, "photos")
    going = desk.lane
    assert going.take()
    by_hand = Command(PROJECT / "pipelines/schedule.py", root, "").start(
        "--once", "--overlap", "queue", "--name", "photos", "--", str(pipeline), "0"
    )
    request.addfinalizer(by_hand.kill)
    assert "waits: another run of it is still going" in by_hand.stdout.readline()
    assert not (root / "began").exists() and desk.state() == State()
    going.release()
    said = by_hand.last_words()
    assert by_hand.returncode == 0 and (root / "began").read_text() == "one\n"
    last = desk.state().last
    assert last and last.state == "done" and "done" in said and "waits" not in said


def test_a_time_that_is_skipped_is_a_run_in_mlflow_that_did_not_fail(
    pipeline: Path, store: Path, tmp_path: Path
) -> None:
    root = root_with(store, tmp_path / "runs")
    plan = Plan(name="photos", command=(str(pipeline),), cron=Cron("0 3 * * *"))
    desk, planned = Desk(root, "photos"), datetime(2026, 11, 21, 3, tzinfo=UTC)
    going = desk.lane
    assert going.take()
    scheduler = Scheduler(plan, desk, Teller(plan, desk, Hooks(print), print), print)
    scheduler.begin(planned - timedelta(hours=1))
    scheduler.tick(planned)
    state = desk.state()
    assert state.last is not None and not state.untold
    run = client(root).get_run(state.last.run)
    assert run.info.status == "FINISHED" and run.data.metrics == {"times": 1}
    tags = {name: run.data.tags.get(f"vlp.{name}") for name in ("state", "planned", "why", "error", "started")}
    assert tags == {
        "state": "skipped",
        "planned": planned.isoformat(),
        "why": "another run of it is still going",
        "error": None,
        "started": None,
    }


def test_the_next_times_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cron", "30 4 * * *", "--timezone", "Asia/Taipei", "--next", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.endswith("04:30 Asia/Taipei") for line in lines)


def test_a_failure_is_in_mlflow_and_told_to_a_command_and_a_web_hook_of_which_one_is_broken(
    pipeline: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], handlers: None
) -> None:
    heard: list[dict[str, Any]] = []

    async def hook(request: web.Request) -> web.StreamResponse:
        heard.append(await request.json())
        return web.Response()

    root = root_with(store, tmp_path / "runs")
    with Site(hook) as site:
        told = ["--on-failure", f"cat > {tmp_path}/told; exit 3", "--web-hook", site.url("x")]
        more = ["--allow-private", site.address, "--retries", "1", "--retry-pause", "0"]
        words = ["--once", "--name", "photos", "--root", str(root), *told, *more]
        assert main([*words, "--", str(pipeline), "0", "error: the reason"]) == 1
    printed = capsys.readouterr().out
    assert "failed: the reason" in printed and "warning: --on-failure was not told (exit code 3)" in printed
    assert heard == [json.loads((tmp_path / "told").read_text())]
    failure = heard[0]
    assert (failure["schedule"], failure["error"], failure["attempts"]) == ("photos", "the reason", 2)
    run = client(root).get_run(failure["run_id"])
    assert run.info.status == "FAILED" and run.data.metrics["attempts"] == 2
    assert run.data.tags["vlp.state"] == "failed" and run.data.tags["vlp.planned"] == failure["planned"]
    assert [file.path for file in client(root).list_artifacts(run.info.run_id)] == [
        Desk(root, "photos").log(datetime.fromisoformat(failure["planned"])).name
    ]
    assert main(["--list", "--root", str(root)]) == 0
    assert "photos: by hand · last" in capsys.readouterr().out


def test_a_command_that_hangs_is_ended_and_only_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it has begun."""
    monkeypatch.setattr(telling, "COMMAND_WITHIN_S", 0.5)
    said: list[str] = []
    Hooks(said.append, f"sleep 60 & echo $! > {tmp_path}/pid; wait").tell({})
    assert len(said) == 1 and said[0].startswith("warning: --on-failure was not told")
    state = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    until(lambda: not state.exists() or state.read_text().split()[2] == "Z")


def client(root: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(store_of(root))


def test_a_run_leads_to_the_pipelines_own(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(store, tmp_path / "runs")
    monkeypatch.setenv(BEGUN_BY, token("photos", NOW))
    own = Tracking(root, "refresh-data")
    own.open({}, "refresh_data.py")
    own.close(status=FINISHED, pictures=(), headline={}, note="")
    plan = Plan(name="photos", command=("refresh_data.py",), cron=Cron("0 3 * * *"))
    teller = Teller(plan, Desk(root, "photos"), Hooks(print), print)
    done = Outcome(
        planned=NOW, started=NOW + timedelta(minutes=2), ended=NOW + timedelta(minutes=3), state="done", attempts=1
    )
    run = client(root).get_run(teller(done))
    assert run.data.tags["vlp.pipeline_run"] == own.parent and own.parent in run.data.tags["mlflow.note.content"]
    assert run.data.tags["vlp.catch_up"] == "true"
    assert run.data.metrics == {"times": 1, "late_s": 120, "took_s": 60, "attempts": 1}
    missed = client(root).get_run(teller(Outcome(planned=NOW, ended=NOW, state="missed", why="nobody", times=4)))
    assert (missed.data.tags["vlp.why"], missed.data.metrics) == ("nobody", {"times": 4})
    assert client(root).get_experiment(missed.info.experiment_id).name == "schedules"


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EAGAIN, errno.EIO])
def test_what_the_machine_has_no_room_for_is_told_once_and_ends_no_schedule(
    fault: int, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, failure = list[str](), tmp_path / "failure.json"
    plan = Plan(name="photos", command=(str(pipeline), "0"), cron=Cron("0 3 * * *"), retries=0)
    desk = Desk(tmp_path / "runs", "photos")
    hooks = Hooks(told.append, f"cat >> {failure}")
    ended = list[str]()
    scheduler = Scheduler(plan, desk, lambda outcome: ended.append(outcome.state) or "run", told.append)
    scheduler.begin(NOW)
    desk.set(going=Firing(planned=NOW, started=NOW))
    room = Room(tmp_path / "runs", plan, hooks)
    room.tick(scheduler, datetime.now(UTC))
    with monkeypatch.context() as full:
        full.setattr("pipelines.scheduling.desk.write_text", failing(fault))
        until(lambda: room.tick(scheduler, datetime.now(UTC)) and failure.exists())
        room.tick(scheduler, datetime.now(UTC))
    words = "no space left" if fault == errno.ENOSPC else os.strerror(fault)
    assert len([line for line in told if words in line]) == 1 and not ended
    assert json.loads(failure.read_text())["schedule"] == "photos", "told more than once"
    room.tick(scheduler, datetime.now(UTC))
    assert ended == ["done"] and desk.state().going is None


def failing(fault: int) -> Callable[..., None]:
    def write(*_: object) -> None:
        raise OSError(fault, os.strerror(fault))

    return write


def test_a_scheduler_that_is_killed_takes_its_pipeline_along_and_goes_on_at_the_next_start(
    pipeline: Path, store: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = root_with(store, tmp_path / "runs")
    desk = Desk(root, "photos")
    cron = missed_by(desk, hours=2)
    line = Command(PROJECT / "pipelines/schedule.py", root, "")
    words = ["--cron", cron, "--name", "photos", "--", str(pipeline)]

    def begun(count: int) -> None:
        path = root / "began"
        until(lambda: path.exists() and path.read_text().count("\n") >= count, scheduler)

    scheduler = line.start(*words, "120")
    request.addfinalizer(lambda: scheduler.kill())
    begun(1)
    assert line(*words, "120", code=2).startswith(f"error: --name photos: process {scheduler.pid} on ")
    scheduler.kill()
    scheduler.wait()
    scheduler = line.start(*words, "0")
    begun(2)  # not while the first one holds the lane, which would be for two minutes
    until(lambda: desk.state().last and desk.state().last.run, scheduler)
    last = desk.state().last
    scheduler.terminate()
    said = scheduler.last_words()
    assert scheduler.returncode == 130 and "stopped; the same command goes on from here" in said
    assert "was cut short; it goes on" in said and last.state == "done" and desk.state().going is None
