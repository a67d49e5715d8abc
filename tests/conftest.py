"""One Ray cluster for all tests, and real data where it is at hand."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster that all tests share, private to this session."""
    import ray

    context = ray.init(
        address="local", num_cpus=4, include_dashboard=False, logging_level="ERROR", object_store_memory=512 * 2**20
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture
def real_data() -> Path:
    """The folder of real data that VLP_REAL_DATA names."""
    folder = os.environ.get("VLP_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set VLP_REAL_DATA to the folder that holds flickr8k.zip and the like")
    return Path(folder).resolve()
