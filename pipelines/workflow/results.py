"""Results: where they lie, and how they become real and are taken back, each whole or not at all.

{root}/{step}/{fingerprint}/            a result: its files and `_RECORD.json`
{root}/{step}/{fingerprint}.partial/    work under way, or what a kill left of it
{root}/{step}/.{fingerprint}.lock       held alone by who makes or takes it back, together by who reads it
"""

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.workflow.lock import Lock
from pipelines.workflow.record import BEGUN, RECORD, RUN, STAMPS, CorruptRecordError, Inventory, Record, bad_files
from pipelines.workflow.step import Identity, Step
from vlp_core.data.purged import PURGED_FILE
from vlp_core.files import write_text
from vlp_core.tracker import Summary


@dataclass(frozen=True)
class Results:
    """The folder in which the results of all pipelines lie."""

    root: Path

    def folder(self, step: str, fingerprint: str) -> Path:
        return self.root / step / fingerprint

    def partial(self, step: str, fingerprint: str) -> Path:
        return self.root / step / f"{fingerprint}.partial"

    def lock(self, step: str, fingerprint: str) -> Lock:
        return Lock(self.root / step / f".{fingerprint}.lock")

    def read(self, step: str, fingerprint: str) -> Record | None:
        """The record of a result, None where there is none. Changes nothing. Raises CorruptRecordError."""
        return Record.read(self.folder(step, fingerprint))

    def mend(self, step: str, fingerprint: str) -> None:
        """Finish what a kill interrupted: a publication, or a taking back. The lock is the caller's to hold alone."""
        folder, partial = self.folder(step, fingerprint), self.partial(step, fingerprint)
        for replaced in folder.parent.glob(f".{fingerprint}.*.old"):
            shutil.rmtree(replaced, ignore_errors=True)
        if folder.exists() and not (folder / RECORD).exists():
            shutil.rmtree(partial, ignore_errors=True)
            folder.rename(partial)
        elif not folder.exists() and (partial / RECORD).exists():
            try:
                Record.read(partial)
                partial.rename(folder)
            except CorruptRecordError:
                (partial / RECORD).unlink()

    def take_back(self, step: str, fingerprint: str, *, whole: bool) -> None:
        """Make a damaged result work under way again, without its bad files, so that only these are made anew.

        The record goes last: a kill before it leaves a result that is still seen to be damaged. The lock is the
        caller's to hold alone; what is found sound after all stays.
        """
        folder, partial = self.folder(step, fingerprint), self.partial(step, fingerprint)
        bad: list[str] = []
        try:
            record = Record.read(folder)
            if record is not None:
                bad = bad_files(folder, record, whole=whole)
                if not bad:
                    return
        except CorruptRecordError:
            pass
        if not folder.exists():
            return
        shutil.rmtree(partial, ignore_errors=True)
        for name in (*bad, STAMPS, RECORD):
            (folder / name).unlink(missing_ok=True)
        folder.rename(partial)

    def of(self, step: str) -> list[Path]:
        """The folders of a step's results."""
        return sorted(path.parent for path in (self.root / step).glob(f"[!.]*/{RECORD}") if not path.parent.suffix)

    def forget(self, step: str) -> None:
        """Drop the records of a step's results, so that they are made again; one that is in use stays."""
        for folder in self.of(step):
            lock = self.lock(step, folder.name)
            if lock.take():
                (folder / RECORD).unlink(missing_ok=True)
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
        (partial / PURGED_FILE).unlink(missing_ok=True)  # of an earlier making: what is there now is what was made
        (partial / BEGUN).unlink(missing_ok=True)
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
