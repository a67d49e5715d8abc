"""A filter, and the judges that it asks before it."""

from collections.abc import Mapping
from pathlib import Path

from jobs import filter as filter_stage
from jobs import measure
from vlp_core.curation.settings import Filter
from vlp_core.tracker import Silent


def filtered(images: Path, out: Path, settings: Filter, tracker: Silent | None = None) -> Mapping[str, float]:
    """The counts of a filter on what the judges that it asks find."""
    columns = out.with_name(f"{out.name}-columns")
    for folder in (out, columns):
        folder.mkdir(exist_ok=True)
    judges = measure.versions(filter_stage.judges_of(settings))
    measure.run(images=images, judges=judges, detector=settings.detector, out=columns, tracker=Silent())
    return filter_stage.run(
        images=images, columns=(columns,), filter=settings, out=out, tracker=tracker or Silent()
    ).counts
