"""Records: `_RECORD.json` is written last and is what makes a result real.

A record holds nothing that differs between two makings of the same result; what does (times, host, code revision,
MLflow run) stands beside it in `_RUN.json`. Files and folders whose names start with `_` or `.` are not part of a
result.
"""

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.workflow.outside import Stamp, stamp_of
from vlp_core.data.purged import purged_files
from vlp_core.files import write_text
from vlp_core.identity import digest_of, sha256_of_file

SCHEMA = 1
RECORD = "_RECORD.json"
RUN = "_RUN.json"
BEGUN = "_BEGUN.json"
"""Of work under way: what it stands on, so that nobody removes that before it is brought to its end."""
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
        """The name of this result's content and origin."""
        return digest_of(dataclasses.asdict(self))

    @cached_property
    def content(self) -> str:
        """The name of what is in it, wherever it came from: dependents' fingerprints stand on it, so that a step which
        is made anew and comes out as it was makes nobody else run again."""
        return digest_of({name: file["sha256"] for name, file in self.files.items()})

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


def bad_files(
    folder: Path, record: Record, *, whole: bool, remember: bool = True, names: Collection[str] | None = None
) -> list[str]:
    """The files of a result, or those of some `names`, that are missing or not as recorded, or as a purge left them.

    Sizes are always compared; contents where a file's stamp is not the one it had when last read, or all with `whole`.
    Unless it is to `remember`, it writes nothing.
    """
    stamps = _read_stamps(folder)
    bad, read = [], False
    for name, expected in (record.files | purged_files(folder)).items():
        if names is not None and name not in names:
            continue
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
    if read and remember:
        with contextlib.suppress(OSError):  # a memory only
            write_text(folder / STAMPS, json.dumps(stamps, sort_keys=True))
    return bad


def _read_stamps(folder: Path) -> dict[str, Stamp]:
    try:
        stamps = json.loads((folder / STAMPS).read_text())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}
