"""Handing work to a cluster that `ray start --head` made, as the README prints it: the main job, both ways, and a
schedule that hands itself over."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.scheduling.desk import Desk
from pipelines.workflow.record import RECORD
from tests.pipelines.conftest import PROJECT, missed_by, root_with
from tests.pipelines.test_pretrain_clip import SMALL
from tests.waiting import HANGS_S, until

RAY = Path(sys.executable).with_name("ray")


@dataclass
class Head:
    """A cluster of its own: with its own ports, token, and folder of results where a job names none."""

    environment: dict[str, str]
    results: Path

    def submit(self, *arguments: str) -> str:
        line = [str(RAY), "job", "submit", *arguments]
        done = subprocess.run(line, cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=HANGS_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    home, results = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("results")
    gcs, dashboard, agent, client = free_ports(4)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")},
        "HOME": str(home),
        "PATH": f"{RAY.parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "VLP_ROOT": str(results),
    }
    line = [str(RAY), "get-auth-token", "--generate"]
    subprocess.run(line, env=environment, check=True, capture_output=True, timeout=HANGS_S)
    places = {"port": gcs, "dashboard-port": dashboard, "dashboard-agent-listen-port": agent}
    line = [str(RAY), "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2"]
    line += [f"--{name}={port}" for name, port in {**places, "ray-client-server-port": client}.items()]
    line += ["--object-store-memory=200000000", "--disable-usage-stats"]
    process = subprocess.Popen(line, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_dashboard(environment, process)
        yield Head(environment, results)
    finally:
        process.terminate()  # with --block it ends all that it started
        process.wait(60)


def wait_for_dashboard(environment: dict[str, str], process: "subprocess.Popen[bytes]") -> None:
    line = [str(RAY), "job", "list"]

    def answers() -> bool:
        return not subprocess.run(line, env=environment, capture_output=True, timeout=HANGS_S).returncode

    until(answers, process, every_s=1)


def records(root: Path) -> set[str]:
    return {path.parent.parent.name for path in root.glob(f"*/*/{RECORD}")}


def test_the_file_itself_is_run_where_the_cluster_is(head: Head) -> None:
    said = head.submit("--", "pipelines/pretrain_clip.py", *SMALL, "--until", "ingest")
    assert "✓ ingest" in said
    assert records(head.results) == {"corpus", "ingest"}


def test_an_uploaded_copy_is_run_with_a_root_of_its_own(head: Head, tmp_path: Path) -> None:
    line = ["python", "pipelines/pretrain_clip.py", "--root", str(tmp_path / "runs"), *SMALL, "--until", "hash"]
    said = head.submit("--working-dir", ".", "--", *line)
    assert "✓ hash" in said
    assert records(tmp_path / "runs") == {"corpus", "ingest", "download", "hash"}


def test_a_schedule_submits_itself_once_and_catches_up_there(head: Head, store: Path, tmp_path: Path) -> None:
    root, pipeline = root_with(store, tmp_path / "runs"), tmp_path / "pipeline.py"
    pipeline.write_text("import os; print('on', os.environ['RAY_ADDRESS'])")
    desk = Desk(root, "photos")
    cron = missed_by(desk, hours=2)
    line = [sys.executable, "pipelines/schedule.py", "--cron", cron, "--name", "photos", "--root", str(root)]
    line += ["--submit", "--", str(pipeline)]
    first, second = (
        subprocess.run(line, cwd=PROJECT, env=head.environment, capture_output=True, text=True) for _ in range(2)
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"handed to the Ray cluster at {head.environment['RAY_API_SERVER_ADDRESS']}; " in first.stdout
    assert (first.stdout + first.stderr).count("\n") == 1, "Ray's own lines are not for whoever submits"
    job = first.stdout.partition("photos is job ")[2].partition(":")[0]
    assert second.returncode == 2
    assert second.stderr.startswith(f"error: --name photos: job {job} has this schedule already")
    until(lambda: desk.state().last, every_s=0.2)
    last = desk.state().last
    assert last is not None and last.state == "done" and desk.log(last.planned).read_text().startswith("on ")
