"""A list of links of a site that changes, refreshed as a user does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import refresh_data
from pipelines.workflow.tracking import store_of
from tests.jobs.refreshing import HOST, World
from tests.pipelines.conftest import PROJECT, root_with

PIPELINE = PROJECT / "pipelines" / "refresh_data.py"


class Data(World):
    """A world whose list is a file that a pipeline refreshes in this process."""

    def __init__(self, folder: Path, store: Path) -> None:
        super().__init__(folder)
        root_with(store, self.root)
        self.list = folder / "list.parquet"

    def lists(self, *paths: str, captions: Mapping[str, Sequence[str]] | None = None) -> None:
        """Write the list, with a caption each or those that are given."""
        said = {path: [f"text of {path}"] for path in paths} | dict(captions or {})
        rows = {"url": [f"{HOST}/{path}" for path in paths], "caption": [list(said[path]) for path in paths]}
        pq.write_table(pa.table(rows), self.list)

    def flags(self, *more: str, rate: str = "0") -> list[str]:
        fetch = [
            "--fetch.resolve",
            f"*.test={self.site.address}",
            "--fetch.per-host-rate",
            rate,
            "--fetch.retries",
            "0",
        ]
        source = [] if "--source" in more else ["--source", str(self.list)]
        named = [] if "--into" in more else ["--into", "photos"]
        size = [] if "--ingest.shard-size" in more else ["--ingest.shard-size", "4"]
        here = [] if "--fetch.workers" in more else ["--fetch.workers", "0"]  # no actors, each of which is a process
        return [*source, *named, *size, *fetch, *here, *more]

    def main(self, *more: str, root: Path | None = None) -> int:
        return refresh_data.main(["--root", str(root or self.root), *self.flags(*more)])


def runs(root: Path, experiment: str, query: str) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(store_of(root))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], query, order_by=["attributes.start_time"]))
