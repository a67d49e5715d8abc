"""The plan: for each step, whether it would run and why. Made from records alone, without Ray."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.workflow.outside import Digests
from pipelines.workflow.record import RECORD, RUN, CorruptRecordError, Record, Results, bad_files
from pipelines.workflow.step import Identity, Step, identify
from vlp_core.identity import canonical_json, sha256_of_file


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
    _checked: set[str] = field(default_factory=set)

    def decide(self, step: Step) -> Decision:
        waiting = [dependency.name for dependency in step.dependencies if dependency.name not in self.records]
        if waiting:
            return Decision(step=step, reason=f"waits for {', '.join(dict.fromkeys(waiting))}")
        identity = identify(step, self._reference, self.digests.of)
        if step.name in self.forced:
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

    def _reference(self, step: Step) -> Mapping[str, str]:
        record = self.records[step.name]
        return {"step": record.step, "fingerprint": record.fingerprint, "record": record.digest}

    def _sound_record(self, step: Step, identity: Identity) -> Record | None:
        name, fingerprint = step.name, identity.fingerprint
        try:
            record = self.results.read(name, fingerprint)
        except CorruptRecordError as error:
            self._give_up(name, fingerprint, str(error), [])
            return None
        if record is None:
            return None
        bad = bad_files(self.results.folder(name, fingerprint), record, whole=self.verify)
        if bad:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            self._give_up(name, fingerprint, f"{bad[0]}{more} is missing or not as it was recorded", bad)
            return None
        return record

    def _give_up(self, name: str, fingerprint: str, what: str, bad: list[str]) -> None:
        self.warnings.append(f"{self.results.folder(name, fingerprint)}: {what}; making it again")
        if self.repair:
            self.results.demote(name, fingerprint, bad)

    def _warn_of_changed_source(self, step: Step, record: Record) -> None:
        made_from = self.results.run_of(record).get("source_sha256")
        if step.name in self._checked or made_from is None:
            return
        self._checked.add(step.name)
        if made_from != sha256_of_file(step.source):
            self.warnings.append(
                f"{step.name}: reused, though {step.source.name} changed since it was made; "
                f"--force {step.name} makes it again"
            )

    def _why(self, step: Step, identity: Identity) -> str:
        if self.results.partial(step.name, identity.fingerprint).exists() and step.resumable:
            return "was interrupted, goes on"
        latest = _latest(self.results.root / step.name)
        if latest is None:
            return "not made yet"
        changed = sorted(differences({**latest.inputs, **latest.extends}, {**identity.inputs, **identity.extends}))
        if latest.version != step.version:
            changed.insert(0, f"its version is {step.version}, was {latest.version}")
        return "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "") if changed else "not made yet"


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """What changed between two canonical values, one short text each."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if "record" in after and before.get("step") == after.get("step"):
            return [] if before == after else [f"{after['step']} changed"]
        keys = sorted({*before, *after})
        return [
            text
            for key in keys
            for text in differences(before.get(key), after.get(key), f"{where}.{key}" if where else str(key))
        ]
    if before == after:
        return []
    return [f"{where}: {_short(before)} → {_short(after)}"]


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _latest(folder: Path) -> Record | None:
    """The record made last in a step's folder, whatever its inputs."""
    best: tuple[float, Record] | None = None
    for path in folder.glob(f"*/{RECORD}"):
        try:
            record = Record.read(path.parent)
            finished = float(json.loads((path.parent / RUN).read_text()).get("finished", 0))
        except (CorruptRecordError, OSError, ValueError):
            continue
        if record is not None and (best is None or finished > best[0]):
            best = (finished, record)
    return best[1] if best else None
