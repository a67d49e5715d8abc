"""Records: `_RECORD.json` is written last and is what makes a result real.

    {root}/{step}/{fingerprint}/            a result: its files and `_RECORD.json`
    {root}/{step}/{fingerprint}.partial/    work under way, or what a kill left of it

A record holds nothing that differs between two makings of the same result; what does (times, host, code revision,
MLflow run) stands beside it in `_RUN.json`. Files and folders whose names start with `_` or `.` are not part of a
result.
"""

import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.workflow.lock import Lock
from pipelines.workflow.outside import Stamp, stamp_of
from pipelines.workflow.step import Identity, Step
from vlp_core.files import write_text
from vlp_core.identity import digest_of, sha256_of_file
from vlp_core.tracker import Summary

SCHEMA = 1
RECORD = "_RECORD.json"
RUN = "_RUN.json"
STAMPS = "_STAMPS.json"


class CorruptRecordError(Exception):
    """A record that is there and cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a result is: where it came from and what is in it."""

    step: str
    function: str
    version: str
    fingerprint: str
    family: str
    inputs: dict[str, Any]
    extends: dict[str, Any]
    continued_from: str | None
    counts: dict[str, float]
    pictures: dict[str, str]
    files: dict[str, dict[str, Any]]
    schema: int = SCHEMA

    @cached_property
    def digest(self) -> str:
        """The name of this result's content and origin; dependents' fingerprints stand on it."""
        return digest_of(dataclasses.asdict(self))

    def write(self, folder: Path) -> None:
        body = {**dataclasses.asdict(self), "digest": self.digest}
        write_text(folder / RECORD, json.dumps(body, indent=1, ensure_ascii=False))

    @staticmethod
    def read(folder: Path) -> "Record | None":
        """The record of a folder; None where there is none. Raises CorruptRecordError."""
        try:
            body = json.loads((folder / RECORD).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CorruptRecordError(f"its record is not readable ({error})") from error
        try:
            digest = body.pop("digest")
            record = Record(**body)
        except (AttributeError, KeyError, TypeError) as error:
            raise CorruptRecordError(f"its record lacks a field or has one too many ({error})") from error
        if record.schema != SCHEMA:
            raise CorruptRecordError(f"its record has schema {record.schema}, this is {SCHEMA}")
        if digest != record.digest:
            raise CorruptRecordError("its record was changed after it was written")
        return record


def result_files(folder: Path) -> Iterator[Path]:
    """The files that are part of a result, in order."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if path.is_dir():
            yield from result_files(path)
        else:
            yield path


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The files of a result: what a record keeps of each, and the stamps they had when they were read."""

    files: dict[str, dict[str, Any]]
    stamps: dict[str, Stamp]


def take_inventory(folder: Path) -> Inventory:
    files, stamps = {}, {}
    for path in result_files(folder):
        name = path.relative_to(folder).as_posix()
        stamps[name] = stamp_of(path)
        files[name] = {"size": path.stat().st_size, "sha256": sha256_of_file(path)}
    return Inventory(files=files, stamps=stamps)


def bad_files(folder: Path, record: Record, *, whole: bool) -> list[str]:
    """The files of a result that are missing or not as recorded.

    Sizes are always compared; contents where a file's stamp is not the one it had when last read, or all with `whole`.
    """
    try:
        stamps = json.loads((folder / STAMPS).read_text())
    except (OSError, ValueError):
        stamps = {}
    bad, read = [], False
    for name, expected in record.files.items():
        path = folder / name
        try:
            stamp = stamp_of(path)
            if stamp[0] != expected["size"]:
                bad.append(name)
            elif whole or stamps.get(name) != stamp:
                read = True
                if sha256_of_file(path) == expected["sha256"]:
                    stamps[name] = stamp
                else:
                    bad.append(name)
        except OSError:
            bad.append(name)
    if read:
        write_text(folder / STAMPS, json.dumps(stamps, sort_keys=True))
    return bad


@dataclass(frozen=True)
class Results:
    """The folder in which the results of all pipelines lie."""

    root: Path

    def folder(self, step: str, fingerprint: str) -> Path:
        return self.root / step / fingerprint

    def partial(self, step: str, fingerprint: str) -> Path:
        return self.root / step / f"{fingerprint}.partial"

    def lock(self, step: str, fingerprint: str) -> Lock:
        """Whoever holds it is the only one who makes, publishes or takes back this result."""
        return Lock(self.root / step / f".{fingerprint}.lock")

    def read(self, step: str, fingerprint: str) -> Record | None:
        """The record of a result, after mending what a kill interrupted: its publication, or its being taken back."""
        folder, partial = self.folder(step, fingerprint), self.partial(step, fingerprint)
        if not folder.exists() and (partial / RECORD).exists():
            partial.rename(folder)
        record = Record.read(folder)
        if record is None and folder.exists() and not partial.exists():
            folder.rename(partial)
        return record

    def demote(self, step: str, fingerprint: str, bad: list[str]) -> None:
        """Take a result back to work under way without its bad files, so that only these are made again.

        Nothing happens where somebody else is at this result.
        """
        folder, partial = self.folder(step, fingerprint), self.partial(step, fingerprint)
        lock = self.lock(step, fingerprint)
        if not lock.take():
            return
        try:
            if not folder.exists():
                return
            shutil.rmtree(partial, ignore_errors=True)
            for name in (RECORD, STAMPS, *bad):
                (folder / name).unlink(missing_ok=True)
            folder.rename(partial)
        finally:
            lock.release()

    def publish(
        self,
        current: Step,
        identity: Identity,
        *,
        summary: Summary,
        inventory: Inventory,
        continued_from: str | None,
        run: dict[str, Any],
    ) -> Record:
        """Write the record of finished work and give its folder the final name."""
        partial = self.partial(current.name, identity.fingerprint)
        folder = self.folder(current.name, identity.fingerprint)
        record = Record(
            step=current.name,
            function=current.function,
            version=current.version,
            fingerprint=identity.fingerprint,
            family=identity.family,
            inputs=identity.inputs,
            extends=identity.extends,
            continued_from=continued_from,
            counts=dict(summary.counts),
            pictures=dict(summary.pictures),
            files=inventory.files,
        )
        write_text(partial / STAMPS, json.dumps(inventory.stamps, sort_keys=True))
        write_text(partial / RUN, json.dumps(run, sort_keys=True, indent=1))
        record.write(partial)
        if folder.exists():
            replaced = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
            folder.rename(replaced)
            partial.rename(folder)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            partial.rename(folder)
        _sync_folder(folder.parent)
        return record

    def extendable(self, current: Step, identity: Identity) -> Path | None:
        """The result of the same family that reaches furthest and not further than this one is to."""
        best: tuple[list[Any], Path] | None = None
        wanted = [identity.extends[key] for key in sorted(identity.extends)]
        for path in sorted((self.root / current.name).glob(f"*/{RECORD}")):
            try:
                record = Record.read(path.parent)
            except CorruptRecordError:
                continue
            if record is None or path.parent.name != record.fingerprint or record.family != identity.family:
                continue
            reached = [record.extends.get(key) for key in sorted(identity.extends)]
            if record.fingerprint == identity.fingerprint or any(map(_beyond, reached, wanted)):
                continue
            if best is None or reached > best[0]:
                best = (reached, path.parent)
        return best[1] if best else None

    def run_of(self, record: Record) -> dict[str, Any]:
        """What stands beside a record: times, code, source hash and the MLflow run that made it."""
        try:
            return dict(json.loads((self.folder(record.step, record.fingerprint) / RUN).read_text()))
        except (OSError, ValueError):
            return {}


def _beyond(reached: Any, wanted: Any) -> bool:
    return reached is None or wanted is None or reached > wanted


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
