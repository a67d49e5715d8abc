"""Which runs are open in MLflow, and whether their drivers live: a file each, locked by the driver until it ends."""

import json
import time
from pathlib import Path
from typing import Any

from pipelines.workflow.lock import Lock

FOLDER = ".runs"
YOUNG_S = 60.0  # the age up to which a file that says nothing may be one that is about to be written


def file_of(root: Path, token: str) -> Path:
    """The file of the run that has `token` among its tags."""
    return root / FOLDER / token


def hold(root: Path, token: str, *, store: str, experiment: str) -> Lock:
    """Say where the runs of this driver are, under a lock that lives as long as it does."""
    lock = Lock(file_of(root, token))
    while not lock.take():  # somebody looks at it, which takes no time
        time.sleep(0.01)
    lock.write(json.dumps({"store": store, "experiment": experiment}))
    return lock


def left_in(root: Path, store: str) -> list[Path]:
    """The files of runs in this store whose drivers are gone; those that a kill left empty are removed."""
    left = []
    for path in sorted((root / FOLDER).glob("*")):
        said = said_by(path)
        if not said and _age(path) > YOUNG_S:
            path.unlink(missing_ok=True)
        elif said.get("store") == store and Lock(path).is_free():
            left.append(path)
    return left


def said_by(path: Path) -> dict[str, Any]:
    """Where the run is: `store` and `experiment`."""
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
