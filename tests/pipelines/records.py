"""Records of results that no pipeline made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.workflow.record import Record, take_inventory


def recorded(folder: Path, **inputs: Any) -> Record:
    """Write the record of a result that stands on others."""
    given: Mapping[str, Any] = {
        name: {"step": value.step, "content": value.content} if isinstance(value, Record) else value
        for name, value in inputs.items()
    }
    record = Record(
        step=folder.parent.name,
        function="",
        version="1",
        fingerprint=folder.name,
        family="",
        inputs=dict(given),
        extends={},
        continued_from=None,
        counts={},
        pictures={},
        files=take_inventory(folder).files,
    )
    record.write(folder)
    return record
