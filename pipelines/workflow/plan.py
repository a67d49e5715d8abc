"""The plan: for each step, whether it would run and why. Made from records alone, without Ray."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.words import bytes_told
from pipelines.workflow.differences import differences
from pipelines.workflow.outside import Digests
from pipelines.workflow.purging import check_no_purge
from pipelines.workflow.record import RECORD, RUN, CorruptRecordError, Record, bad_files
from pipelines.workflow.released import held_by
from pipelines.workflow.results import Results
from pipelines.workflow.source import sources_of
from pipelines.workflow.step import Identity, Step, identify
from vlp_core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to become of a step: reused where there is a record, else made for `reason`."""

    step: Step
    reason: str
    identity: Identity | None = None
    """None as long as a dependency has no record."""
    record: Record | None = None

    @property
    def reused(self) -> bool:
        return self.record is not None


@dataclass
class Planner:
    """Decides about steps, dependencies first. `warnings` gathers what was found wrong on the way."""

    results: Results
    digests: Digests
    forced: frozenset[str] = frozenset()
    verify: bool = False
    repair: bool = True
    """Whether what is corrupt is taken back to be made again; a plan that is only shown changes nothing."""
    warnings: list[str] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    _read: dict[tuple[str, str], Record] = field(default_factory=dict)
    """Results (step, fingerprint) all of whose files were read and found good, for `verify`."""
    _checked: set[str] = field(default_factory=set)
    _broken: set[tuple[str, str]] = field(default_factory=set)
    """Results (step, fingerprint) that were found corrupt."""
    _outdated: dict[str, list[str]] = field(default_factory=dict)
    """Steps that are reused though source files of theirs changed."""

    @property
    def verified(self) -> str:
        """How much was read for `verify`, and found to be as it was recorded."""
        files = [file for record in self._read.values() for file in record.files.values()]
        size = sum(file["size"] for file in files)
        return f"{len(self._read):,} results are as recorded: {len(files):,} files, {bytes_told(size)}"

    def tell(self) -> list[str]:
        """What was found wrong since the last call, a line each."""
        lines, self.warnings = self.warnings, []
        return lines

    def tell_of_code(self) -> list[str]:
        """What was reused since the last call though its code changed: one line for all, or none."""
        if not self._outdated:
            return []
        files = sorted({name for names in self._outdated.values() for name in names})
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        steps, self._outdated = list(self._outdated), {}
        return [f"reused, though {files[0]}{more} changed since: {', '.join(steps)}; --force STEP makes one again"]

    def decide(self, step: Step) -> Decision:
        waiting = [dependency.name for dependency in step.dependencies if dependency.name not in self.records]
        if waiting:
            return Decision(step=step, reason=f"waits for {', '.join(dict.fromkeys(waiting))}")
        identity = identify(step, self.reference, self.digests.of)
        if step.name in self.forced:
            if self.repair:
                self._check_not_held(step.name, identity.fingerprint, "--force")
            return Decision(step=step, reason="forced", identity=identity)
        record = self._sound_record(step, identity)
        if record is None:
            return Decision(step=step, reason=self._why(step, identity), identity=identity)
        self.records[step.name] = record
        self._warn_of_changed_source(step, record)
        return Decision(step=step, reason="", identity=identity, record=record)

    def folder_of(self, step: Step) -> Path:
        record = self.records[step.name]
        return self.results.folder(record.step, record.fingerprint)

    def reference(self, step: Step) -> Mapping[str, str]:
        record = self.records[step.name]
        return {"step": record.step, "content": record.content}

    def _sound_record(self, step: Step, identity: Identity) -> Record | None:
        name, fingerprint = step.name, identity.fingerprint
        folder = self.results.folder(name, fingerprint)
        whole = self.verify and (name, fingerprint) not in self._read
        try:
            record = self.results.read(name, fingerprint)
        except CorruptRecordError as error:
            self._give_up(name, fingerprint, str(error))
            return None
        if record is None:
            return None
        bad = bad_files(folder, record, whole=whole, remember=self.repair)
        if bad:  # a purge that has begun since is no damage, nor one that has ended
            check_no_purge(self.results.root)
            bad = bad_files(folder, record, whole=whole, remember=self.repair)
        if bad:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            self._give_up(name, fingerprint, f"{bad[0]}{more} is missing or not as it was recorded")
            return None
        if whole:
            self._read[name, fingerprint] = record
        return record

    def _give_up(self, name: str, fingerprint: str, what: str) -> None:
        if self.repair:
            self._check_not_held(name, fingerprint, what)
        again = "making it again" if self.repair else "it would be made again"
        self.warnings.append(f"{self.results.folder(name, fingerprint)}: {what}; {again}")
        self._broken.add((name, fingerprint))
        if not self.repair:
            return
        lock = self.results.lock(name, fingerprint)
        if lock.take():  # whoever else has it makes, takes back or reads it; it is looked at again before it is made
            try:
                self.results.take_back(name, fingerprint, whole=self.verify)
            finally:
                lock.release()

    def _check_not_held(self, name: str, fingerprint: str, why: str) -> None:
        """What is fetched once more is not what was fetched: releases would have other bytes where their pictures are.
        UserError where there are such."""
        folder = self.results.folder(name, fingerprint)
        held = held_by(self.results.root, folder) if folder.exists() else []
        if held:
            more = f" and {len(held) - 3} more" if len(held) > 3 else ""
            raise UserError(
                f"{folder}: {why}; it is not made again, for {', '.join(held[:3])}{more} have pictures in it, which "
                "might not come twice: put it back as it was, go on with --source releases:NAME, or take another --root"
            )

    def _warn_of_changed_source(self, step: Step, record: Record) -> None:
        made_from = self.results.run_of(record).get("sources")
        if step.name in self._checked or not isinstance(made_from, dict):
            return
        self._checked.add(step.name)
        now = sources_of(step.source)
        changed = sorted(name for name in {*now, *made_from} if now.get(name) != made_from.get(name))
        if changed:
            self._outdated[step.name] = changed

    def _why(self, step: Step, identity: Identity) -> str:
        if (step.name, identity.fingerprint) in self._broken:
            return "was corrupt"
        if self.results.partial(step.name, identity.fingerprint).exists() and step.resumable:
            return "was not finished, goes on"
        changed = _changed(self.results.root / step.name, step, identity)
        return "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "") if changed else "not made yet"


def folders_made(steps: list[Step], root: Path) -> dict[str, Path]:
    """The folders of those steps that are made."""
    planner = Planner(Results(root), Digests(root / ".digests.json"), repair=False)
    return {step.name: planner.folder_of(step) for step in steps if planner.decide(step).reused}


def folders_begun(steps: list[Step], root: Path) -> dict[str, Path]:
    """The folders of those steps that are made, or have a part of what they make: these go on from there."""
    planner = Planner(Results(root), Digests(root / ".digests.json"), repair=False)
    found = {}
    for step in steps:
        decision = planner.decide(step)
        if decision.reused:
            found[step.name] = planner.folder_of(step)
        elif decision.identity is not None:
            partial = planner.results.partial(step.name, decision.identity.fingerprint)
            found |= {step.name: partial} if partial.exists() else {}
    return found


def _changed(folder: Path, step: Step, identity: Identity) -> list[str]:
    """What differs from the result in a step's folder that is nearest to it, of equally near ones the last; nothing
    where there is none."""
    best: tuple[int, float, list[str]] = (sys.maxsize, 0.0, [])
    for path in folder.glob(f"*/{RECORD}"):
        try:
            record = Record.read(path.parent)
            finished = float(json.loads((path.parent / RUN).read_text()).get("finished", 0))
        except (CorruptRecordError, OSError, ValueError):
            continue
        if record is None:
            continue
        changed = sorted(differences({**record.inputs, **record.extends}, {**identity.inputs, **identity.extends}))
        if record.version != step.version:
            changed.insert(0, f"its version is {step.version}, was {record.version}")
        best = min(best, (len(changed), -finished, changed))
    return best[2]
