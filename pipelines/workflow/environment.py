"""What MLflow reads from the environment: on the driver, and in stages that talk to it themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

COMMON = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # of every run, with the password of the store
}
# The driver writes little at a time and must not wait for a server that is gone; a stage uploads models.
DRIVER_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
STAGE_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "120"}

_GIVEN = {key: os.environ[key] for key in DRIVER_LIMITS if key in os.environ}  # by the user, before we set ours


def prepare_environment() -> None:
    """Set what MLflow reads at import; before there are threads, for they share the environment."""
    for key, value in {**COMMON, **DRIVER_LIMITS}.items():
        os.environ.setdefault(key, value)


def stage_environment() -> dict[str, str]:
    """What a stage that talks to MLflow runs under: the user's own limits where there are some."""
    return {**COMMON, **{key: _GIVEN.get(key, value) for key, value in STAGE_LIMITS.items()}}


@contextmanager
def environment_kept(name: str) -> Iterator[None]:
    """MLflow writes what it is told into the environment, where the next pipeline of this process would take it for
    the user's word."""
    given = os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if given is not None:
            os.environ[name] = given
