"""MLflow: what became of each planned time of a schedule is a run of the experiment `schedules`, which leads to the
pipeline's own.

It is written when it is over: a run that were open meanwhile would be one more pipeline at work in the root.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.workflow.environment import prepare_environment
from pipelines.workflow.tracking import BEGUN_TAG, FAILED, FINISHED, Tracking

EXPERIMENT = "schedules"


def token(schedule: str, planned: datetime) -> str:
    """What a pipeline's run carries for the planned time that it was begun for."""
    return f"{schedule} {planned:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Links:
    """The runs that pipelines made for a planned time, the last one first: links to them, and ids."""

    links: tuple[str, ...]
    ids: tuple[str, ...]


class Firings(Tracking):
    """Writes such runs. Raises UserError where the store does not open, and whatever MLflow raises where it fails."""

    def __init__(self, root: Path, schedule: str) -> None:
        super().__init__(root, EXPERIMENT, schedule)
        prepare_environment()
        self._open_store()

    def begun_by(self, planned: datetime) -> Links:
        """The pipeline's own runs for a planned time: none where it had nothing to do."""
        everywhere = [found.experiment_id for found in self._client.search_experiments()]
        wanted = f"tags.`{BEGUN_TAG}` = '{token(self.run_name, planned)}'"
        runs = self._client.search_runs(everywhere, wanted, order_by=["attributes.start_time DESC"])
        found = [run.info for run in runs]
        links = (f"[{of.run_name}](#/experiments/{of.experiment_id}/runs/{of.run_id}) {of.status}" for of in found)
        return Links(tuple(links), tuple(of.run_id for of in found))

    def write(
        self,
        *,
        began: datetime,
        ended: datetime,
        failed: bool,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        note: str,
        log: Path | None,
    ) -> str:
        """A run that is over; returns its id."""
        named = {"vlp.root": str(self.root), "mlflow.source.name": EXPERIMENT, "mlflow.note.content": note, **tags}
        run = self._client.create_run(self.experiment, run_name=self.run_name, tags=named, start_time=_ms(began))
        made = str(run.info.run_id)
        self._params(made, params)
        self._metrics(made, metrics, 0)
        if log is not None and log.exists():
            self._client.log_artifact(made, str(log))
        self._client.set_terminated(made, FAILED if failed else FINISHED, _ms(ended))
        return made


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
