"""One Ray cluster for all tests, and real data where it is at hand."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import shared

# Minutes each; --no-loadscope-reorder has them begin in this order, where xdist would count their tests.
LONGEST = ("test_pretrain_clip.py", "test_cli.py", "test_train.py", "tests/pipelines/*", "tests/jobs/*", "test_loop.py")

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes at work on two cores
# Each test with Ray starts processes that import torch, Ray and MLflow: without kept bytecode, each compiles them anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 leaves them next to nothing while the other process works
os.environ.setdefault("RAY_AUTH_MODE", "token")  # or who joins the tests' cluster does not show the one it has made
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray cluster that all tests share, private to this session; this process has joined it."""
    import ray

    base, parallel = tmp_path_factory.getbasetemp(), "PYTEST_XDIST_WORKER" in os.environ
    address = shared(base.parent if parallel else base, os.getppid() if parallel else os.getpid())
    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    yield address
    ray.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: next((n for n, name in enumerate(LONGEST) if item.path.match(name)), len(LONGEST)))


@pytest.fixture(autouse=True)
def _own_store() -> Iterator[None]:
    """MLflow writes the store that it was last told of into the environment, where the next test would find it."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture
def real_data() -> Path:
    """The folder of real data that VLP_REAL_DATA names."""
    folder = os.environ.get("VLP_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set VLP_REAL_DATA to the folder that holds flickr8k.zip and the like")
    return Path(folder).resolve()
