"""Pipelines as processes on the tests' cluster, on roots whose MLflow store is already migrated."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.scheduling.desk import Desk
from tests.waiting import HANGS_S

PROJECT = Path(__file__).parents[2]


class Command:
    """A pipeline file with a root and flags of its own, started as a user would."""

    def __init__(self, file: Path, root: Path, cluster: str, flags: tuple[str, ...] = ()) -> None:
        self.file, self.root, self.flags = file, root, flags
        self.environment = {**os.environ, "RAY_ADDRESS": cluster, "PYTHONPATH": str(PROJECT)}
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def line(self, *flags: str) -> list[str]:
        return [sys.executable, str(self.file), "--root", str(self.root), *self.flags, *flags]

    def __call__(self, *flags: str, code: int = 0, timeout: float = HANGS_S, **environment: str) -> str:
        """Run to the end; returns what was printed."""
        done = subprocess.run(
            self.line(*flags),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *flags: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.line(*flags), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty MLflow store: making one takes seconds, copying it none."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def root_with(store: Path, root: Path) -> Path:
    root.mkdir(parents=True)
    shutil.copy(store, root / "mlflow.db")
    return root


def missed_by(desk: Desk, *, hours: int) -> str:
    """The expression of a daily schedule whose time came so many hours ago, and whose scheduler was down."""
    due = datetime.now(UTC) - timedelta(hours=hours)
    cron = f"{due.minute} {due.hour} * * *"
    desk.set(cron=cron, timezone="UTC", settled=due - timedelta(minutes=5))
    return cron


@pytest.fixture
def handlers() -> Iterator[None]:
    """A pipeline in this process listens to Ctrl-C for itself."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
