"""Pipelines as processes on the tests' cluster, on roots whose MLflow store is already migrated."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.scheduling.desk import Desk
from tests.forks import Program

if TYPE_CHECKING:
    from tests.pipelines.refreshing import Data

PROJECT = Path(__file__).parents[2]


class Command:
    """A pipeline file with a root and flags of its own, started as a user would."""

    def __init__(self, file: Path, root: Path, cluster: str, flags: tuple[str, ...] = ()) -> None:
        self.file, self.root, self.flags = file, root, flags
        self.environment = {**os.environ, "RAY_ADDRESS": cluster, "PYTHONPATH": str(PROJECT)}
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def __call__(self, *flags: str, code: int = 0, **environment: str) -> str:
        """Run to the end; returns what was printed, errors last."""
        with tempfile.NamedTemporaryFile() as errors:
            program = Program(self._line(flags), {**self.environment, **environment}, Path(errors.name))
            said = program.last_words() + Path(errors.name).read_text()
        assert program.returncode == code, said
        return said

    def start(self, *flags: str) -> Program:
        return Program(self._line(flags), self.environment)

    def _line(self, flags: tuple[str, ...]) -> list[str]:
        return [str(self.file), "--root", str(self.root), *self.flags, *flags]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty MLflow store: making one takes seconds, copying it none."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def data(tmp_path: Path, store: Path) -> "Iterator[Data]":
    """A list of links of a site that changes, and the root that it is refreshed in."""
    from tests.pipelines.refreshing import Data  # which has need of what stands here

    data = Data(tmp_path, store)
    with data.site:
        yield data


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
