"""MLflow's data sets: the records that a step stands on, and the releases that one made or read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.workflow.record import Record
from pipelines.workflow.results import Results
from vlp_core.data.releases import DATA_SETS_FILE, data_set_of
from vlp_core.metric_names import DATASET_DIGEST_CHARS


def of_records(root: Path, records: Iterable[Record]) -> list[Any]:
    """As inputs of a run."""
    results = Results(root)
    return [
        _input(
            record.step, record.digest, results.folder(record.step, record.fingerprint), record.counts, context="input"
        )
        for record in records
    ]


def left_in(folder: Path) -> list[Any]:
    """What a stage left word of in its result, as inputs of a run: as it is now, if some of it was purged since."""
    try:
        said = json.loads((folder / DATA_SETS_FILE).read_text())
    except (OSError, ValueError):
        return []
    now = [{**item, **(data_set_of(Path(item["source"])) or {})} for item in said]
    return [
        _input(item["name"], item["digest"], item["source"], item["counts"], context=item["context"]) for item in now
    ]


def _input(name: str, digest: str, source: Path | str, counts: Mapping[str, float], *, context: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data_set = Dataset(
        name=name,
        digest=digest[:DATASET_DIGEST_CHARS],
        source_type="local",
        source=json.dumps({"uri": str(source)}),
        profile=json.dumps(dict(counts)),
    )
    return DatasetInput(dataset=data_set, tags=[InputTag("mlflow.data.context", context)])
