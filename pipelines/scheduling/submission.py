"""A schedule as a long-lived Ray job: it hands itself to a cluster through the Jobs API."""

import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.scheduling.attempt import PROJECT
from vlp_core.errors import UserError, first_line, public_text

SCHEDULE = "vlp.schedule"
SUBMIT, ROOT = "--submit", "--root"
NAMING = ("--into", "--until", "--force")
"""Flags of pipelines whose values are names, also where a folder is called so: that of a step in the root is."""


@dataclass(frozen=True, kw_only=True)
class Job:
    id: str
    cluster: str
    """The address of the Jobs API that took it."""


def portable(root: Path, own: Sequence[str], pipeline: Sequence[str], file: Path) -> list[str]:
    """The words of a schedule and of its pipeline, such that a job whose working directory is a copy of the project
    reads the same in them: root and pipeline (`file`) by whole paths, or in the copy.

    UserError for another word that names something in this folder: whether it is a path or just a word is not known.
    """
    for flag, value in _valued(pipeline[1:]):
        if flag not in (ROOT, *NAMING) and _is_of_this_folder(value):
            raise UserError(
                f"--submit: {value}: give an absolute path; a job has its own working directory (where it is no path, "
                "submit from another folder)"
            )
    if not Path(pipeline[0]).is_absolute() and file.resolve().is_relative_to(PROJECT.resolve()):
        file = file.resolve().relative_to(PROJECT.resolve())
    schedule = [word for word in _rooted(own, root) if word != SUBMIT]
    if not any(word.partition("=")[0] == ROOT for word in schedule):
        schedule += [ROOT, str(root)]
    return [*schedule, "--", str(file), *_rooted(pipeline[1:], root)]


def _is_of_this_folder(word: str) -> bool:
    path = Path(word)
    try:
        return bool(word) and not path.is_absolute() and path.exists()
    except (OSError, ValueError):  # no name of a file: too long
        return False


def _valued(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each value, with the flag that it is for."""
    flag = ""
    for word in words:
        value = word
        if word.startswith("--"):
            flag, _, value = word.partition("=")
        yield flag, value


def _rooted(words: Sequence[str], root: Path) -> list[str]:
    """With the root in the place of what --root says."""
    found: list[str] = []
    for word in words:
        after = bool(found) and found[-1] == ROOT
        found.append(str(root) if after else f"{ROOT}={root}" if word.startswith(f"{ROOT}=") else word)
    return found


def submit(name: str, root: Path, words: Sequence[str]) -> Job:
    """Start pipelines/schedule.py with these words as a job of the cluster at RAY_API_SERVER_ADDRESS or RAY_ADDRESS,
    from a copy of the project as it is now.

    UserError where no cluster takes it, and where a job there has this schedule already.
    """
    metadata = {SCHEDULE: name, "vlp.root": str(root)}
    client = _client()
    try:
        for job in client.list_jobs():
            if not job.status.is_terminal() and metadata.items() <= (job.metadata or {}).items():
                raise UserError(
                    f"--name {name}: job {job.submission_id} has this schedule already; end it with "
                    f"`ray job stop {job.submission_id}`, or give another --name"
                )
        begun = client.submit_job(
            entrypoint=shlex.join(["python", "pipelines/schedule.py", *words]),
            runtime_env={"working_dir": str(PROJECT)},
            metadata=metadata,
        )
        return Job(id=str(begun), cluster=public_text(str(client.get_address())))
    except RuntimeError as error:
        raise UserError(f"--submit: the cluster does not take it ({first_line(error)})") from error


def _client() -> Any:
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    from ray.job_submission import JobSubmissionClient

    if os.environ.get("VLP_RAY_LOGS") != "1":
        for module in ("ray", "ray.dashboard.modules.dashboard_sdk"):  # which has a level of its own
            logging.getLogger(module).setLevel(logging.ERROR)
    try:
        return JobSubmissionClient()
    except Exception as error:  # ConnectionError, RuntimeError and what a token that is refused raises
        raise UserError(
            f"--submit: no Ray cluster takes jobs from us ({first_line(error)}); start one with `ray start --head`, or "
            "set RAY_API_SERVER_ADDRESS"
        ) from error
