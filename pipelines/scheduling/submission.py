"""A schedule as a long-lived Ray job: it hands itself to a cluster through the Jobs API."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.scheduling.attempt import PROJECT
from vlp_core.errors import UserError, first_line

SCHEDULE = "vlp.schedule"


def submit(name: str, root: Path | None, words: Sequence[str]) -> str:
    """Start pipelines/schedule.py with these words as a job of the cluster at RAY_API_SERVER_ADDRESS or RAY_ADDRESS,
    from a copy of the project as it is now. Returns the job's id.

    UserError where no cluster takes it, and where a job there has this schedule already.
    """
    metadata = {SCHEDULE: name, "vlp.root": str(root or "")}
    client = _client()
    try:
        for job in client.list_jobs():
            if not job.status.is_terminal() and metadata.items() <= (job.metadata or {}).items():
                raise UserError(
                    f"--name {name}: job {job.submission_id} has this schedule already; end it with "
                    f"`ray job stop {job.submission_id}`, or give another --name"
                )
        return str(
            client.submit_job(
                entrypoint=shlex.join(["python", "pipelines/schedule.py", *words]),
                runtime_env={"working_dir": str(PROJECT)},
                metadata=metadata,
            )
        )
    except RuntimeError as error:
        raise UserError(f"--submit: the cluster does not take it ({first_line(error)})") from error


def _client() -> Any:
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient()
    except Exception as error:  # ConnectionError, RuntimeError and what a token that is refused raises
        raise UserError(
            f"--submit: no Ray cluster takes jobs from us ({first_line(error)}); start one with `ray start --head`, or "
            "set RAY_API_SERVER_ADDRESS"
        ) from error
