"""Checkpoints of a run: each a folder that is whole or not there, newest first.

_checkpoints/
    latest                 the name of the newest, written last
    step-00000200/
        state.json         step, samples (the loader's cursor), ranks, settings, selections (`trained_on`), and size
                               and sha256 of each file
        curve.jsonl        the curve up to this step
        deepspeed/         DeepSpeed's own
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_core.errors import UserError
from vlp_core.files import write_text
from vlp_core.identity import sha256_of_file
from vlp_core.tracker import Silent

FOLDER = "_checkpoints"
LATEST = "latest"
STATE_FILE = "state.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found whole: its folder and its state."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.state["step"])


class Checkpoints:
    """The checkpoints under one run's folder; on one rank only, that of the writer."""

    def __init__(self, out: Path, *, keep: int = 2, warn: Callable[[str], None] | None = None) -> None:
        self.folder = out / FOLDER
        self._keep, self._warn = keep, warn or Silent().warn

    def partial(self, step: int) -> Path:
        """An empty folder to fill, which `publish` makes a checkpoint."""
        folder = self.folder / f".{_name(step)}"
        for left in self.folder.glob(".*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        folder.mkdir(parents=True)
        return folder

    def publish(self, step: int, state: Mapping[str, Any]) -> None:
        """Name the folder that was filled a checkpoint; then drop all but the newest `keep`."""
        partial, final = self.folder / f".{_name(step)}", self.folder / _name(step)
        for name in self._names():  # that a kill left before it was `latest`: another future than this one's
            if name > final.name:
                shutil.rmtree(self.folder / name)
        files = {}
        for path in sorted(path for path in partial.rglob("*") if path.is_file()):
            _to_disk(path)
            files[path.relative_to(partial).as_posix()] = _seal(path)
        write_text(partial / STATE_FILE, json.dumps({**state, "step": step, "files": files}, sort_keys=True))
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        write_text(self.folder / LATEST, final.name)
        for old in self._names()[self._keep :]:
            shutil.rmtree(self.folder / old)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; a damaged one is named in a warning and passed over.

        Raises UserError where a file cannot be read, which may pass, and where none of those there were is whole.
        """
        latest = self._latest()
        for name in self._names():
            if latest is not None and name > latest:
                continue
            try:
                return Checkpoint(folder=self.folder / name, state=_read(self.folder / name))
            except _DamagedError as damage:
                self._warn(f"{self.folder / name}: damaged ({damage}); going on from the checkpoint before it")
        if latest is not None:
            raise UserError(
                f"{self.folder}: no checkpoint there is whole; delete the folder to begin at the first step"
            )
        return None

    def _names(self) -> list[str]:
        return sorted((path.name for path in self.folder.glob("step-*") if path.is_dir()), reverse=True)

    def _latest(self) -> str | None:
        try:
            return (self.folder / LATEST).read_text().strip()
        except FileNotFoundError:
            return None


class _DamagedError(Exception):
    """What is wrong with a checkpoint's files."""


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _seal(path: Path) -> list[int | str]:
    return [path.stat().st_size, sha256_of_file(path)]


def _read(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())
        for name, seal in state["files"].items():
            if not (folder / name).is_file():
                raise _DamagedError(f"{name} is missing")
            if _seal(folder / name) != seal:
                raise _DamagedError(f"{name} has other bytes than were written")
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"{STATE_FILE}: {error!r}") from error
    except OSError as error:  # a disk that does not answer says nothing of the checkpoint
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}); start again when it can, or delete it to go on from the "
            "checkpoint before it"
        ) from error
    return state
