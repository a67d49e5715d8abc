"""Which runs are open in MLflow, and whether their drivers live: a file each, locked by the driver until it ends."""

import json
from pathlib import Path
from typing import Any

from pipelines.workflow.lock import Lock

FOLDER = ".runs"


def file_of(root: Path, token: str) -> Path:
    """The file of the run that has `token` among its tags."""
    return root / FOLDER / token


def run_files(root: Path) -> list[Path]:
    """A file for each run that is open in MLflow, or was when its driver died."""
    return sorted((root / FOLDER).glob("*"))


def said_by(path: Path) -> dict[str, Any]:
    """Where the run is: `store` and `experiment`."""
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock; looking changes nothing in its file."""
    lock = Lock(path)
    if not lock.take(shared=True):
        return False
    lock.release()
    return True
