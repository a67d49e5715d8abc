"""What runs in MLflow show of pictures: pages and drawings that were logged there, as they are or under a step's
name."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.workflow.environment import environment_kept, prepare_environment
from pipelines.workflow.tracking import store_of
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.files import locked
from vlp_core.uris import knock

Change = Callable[[str, bytes], bytes]
"""By the artifact's name and bytes, what it is to be."""


def change_artifacts(root: Path, endings: Sequence[str], change: Change) -> int:
    """Change the artifacts of this root's runs whose names end so; how many were others before.

    UserError where the store or one of its artifacts is out of reach.
    """
    store = store_of(root)
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists():
        return 0
    prepare_environment()
    try:
        knock(store)
        import mlflow

        with locked(root / ".mlflow.lock"), environment_kept("MLFLOW_TRACKING_URI"):
            client, changed = mlflow.MlflowClient(store), 0
            for run in _runs(client, root):
                for path in _named(client, run, tuple(endings)):
                    changed += _changed(client, store, run, path, change)
            return changed
    except (OSError, ValueError, mlflow.exceptions.MlflowException) as error:
        raise UserError(
            f"MLflow at {public_text(store)} does not give its artifacts ({first_line(error)}); see that it answers, "
            "and purge again"
        ) from error


def _runs(client: Any, root: Path) -> Iterator[str]:
    """The pipelines' runs of a root, and their steps'."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    of_root: set[str] = set()
    names: dict[str, bool] = {}  # whether a name is this root's: it may be reached by several
    waiting: list[tuple[str, str]] = []
    token = None
    while experiments:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        for run in page:
            tags = run.data.tags
            name = tags.get("vlp.root", "")
            if name not in names:
                names[name] = bool(name) and Path(name).resolve() == root.resolve()
            if names[name]:
                of_root.add(run.info.run_id)
                yield run.info.run_id
            elif "mlflow.parentRunId" in tags:
                waiting.append((run.info.run_id, tags["mlflow.parentRunId"]))
        token = page.token
        if not token:
            break
    yield from (run for run, parent in waiting if parent in of_root)


def _named(client: Any, run: str, endings: tuple[str, ...], folder: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run, folder):
        if item.is_dir:
            yield from _named(client, run, endings, item.path)
        elif item.path.endswith(endings):
            yield item.path


def _changed(client: Any, store: str, run: str, path: str, change: Change) -> bool:
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        local = Path(
            mlflow.artifacts.download_artifacts(run_id=run, artifact_path=path, dst_path=folder, tracking_uri=store)
        )
        before = local.read_bytes()
        after = change(local.name, before)
        if hashlib.sha256(after).digest() == hashlib.sha256(before).digest():
            return False
        local.write_bytes(after)
        client.log_artifact(run, str(local), path.rpartition("/")[0] or None)
        return True
