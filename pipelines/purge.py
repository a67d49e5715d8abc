"""Purging: the bytes of what was taken down, and what is said of it, leave every result of a root."""

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.purge_journals import remove_halves
from jobs.purge_pages import blank_drawing, purge_page
from pipelines.collect import at_work
from pipelines.forecasting.settings import FOLDER as FORECAST
from pipelines.purge_plan import Purge, folders_of, make_plan, taken_of
from pipelines.purge_result import GRIDS, PurgeResult
from pipelines.workflow.artifacts import change_artifacts
from pipelines.workflow.lock import Lock
from pipelines.workflow.purging import FOLDER
from vlp_core.data.purged import SEEN
from vlp_core.data.releases import FOLDER as RELEASES
from vlp_core.data.takedowns import Takedowns
from vlp_core.errors import UserError
from vlp_core.files import locked
from vlp_core.identity import canonical_json, sha256_of

PURGES_FILE = "purges.jsonl"
_MOST_NAMED = 5
_BY_PLACE = ("jobs.neighbours", "jobs.prompts")  # stages that count what is done by places alone, which a purge moves


def purge(root: Path, by: str) -> Iterator[str]:
    """Purge a root of what its tombstones name, after what a killed purge left; yields lines about it.

    UserError where somebody is at work there, or a result cannot be read; the same again goes on from there.
    """
    lock = Lock(root / ".purge.lock")
    if not lock.take():
        raise UserError(f"{root}: {lock.holder()} purges it; wait for that")
    lock.sign()
    try:
        left = Purge.read(root)
        if left is not None:
            yield f"going on with the purge of {left.begun}, which was killed"
            yield from _carried_out(root, left, by)
        _check_nobody_works(root)
        if (root / FORECAST).exists():  # its pictures are few, and soon asked for again
            shutil.rmtree(root / FORECAST)
            yield f"removed {root / FORECAST}: what was made of a sample"
        planned = make_plan(root)
        if planned is None:
            shutil.rmtree(root / FOLDER, ignore_errors=True)
            if left is None:
                yield f"nothing to purge: no result in {root} has anything of what is taken down"
            return
        try:
            _check_nobody_works(root)  # who starts from here on sees the plan
        except UserError:
            planned.end(root)
            raise
        yield from _carried_out(root, planned, by)
    finally:
        lock.release()


def rehearse(root: Path, down: Takedowns) -> Iterator[str]:
    """Lines about what a purge would remove; nothing is. UserError where a table of a result cannot be read."""
    taken, lists = taken_of(root, down)
    for folder, found in taken.items():
        if found.pictures:
            yield f"would purge {folder.relative_to(root)}, and what was made of it, of {found.pictures:,} pictures"
    links = pa.concat_tables([SEEN.empty_table(), *(found.seen for found in taken.values()), *lists])["uid"]
    yield f"would purge {pc.count_distinct(links).as_py():,} links"


def _check_nobody_works(root: Path) -> None:
    other = at_work(root) or at_work(root / FORECAST)
    for path in [] if other else sorted((root / RELEASES).glob("*/.lock")):
        lock = Lock(path)
        other = other or ("" if lock.is_free() else f"a refresh of {path.parent.name}")
    if other:
        raise UserError(f"{root}: {other} works there; purge when it has ended")


def _carried_out(root: Path, planned: Purge, by: str) -> Iterator[str]:
    _remove_leftovers(root)
    changed: dict[str, int] = {}
    for share in planned.shares:
        names = PurgeResult(root=root, purge=planned, share=share).run()
        if names:
            changed[share.folder] = len(names)
            yield f"purged {share.folder}: {len(names)} files"
    artifacts = change_artifacts(root, (".html", *GRIDS), _Change(root, planned))
    _audit(root, planned, by, changed, artifacts)
    planned.end(root)
    files = sum(changed.values()) + artifacts
    what = f"{planned.links:,} links and {planned.pictures:,} pictures"
    yield f"purged {what}: {files:,} files in {len(changed):,} results changed"
    if planned.others:
        named = list(planned.others)[:_MOST_NAMED]
        more = f" and {len(planned.others) - len(named):,} more" if len(planned.others) > len(named) else ""
        yield (
            f"! {sum(planned.others.values()):,} of the pictures lie in files that are not of this root, and were left "
            f"there; remove them yourself: {', '.join(named)}{more}"
        )


def _remove_leftovers(root: Path) -> None:
    """What a kill has left and nobody will read again: old results, halves of files, work that begins anew anyway."""
    for path in (*root.glob("[!.]*/.*.old"), *root.glob("[!.]*/*.partial")):
        if path.suffix == ".old" or not _goes_on(path.parent.name):
            shutil.rmtree(path)
        else:
            remove_halves(path)
    for folder in folders_of(root):
        for path in folder.rglob(".*.tmp"):
            path.unlink()


def _goes_on(step: str) -> bool:
    """Whether the stage behind a step goes on in a half-filled folder, also after a purge; any other begins in an empty
    one."""
    words = step.split("-")
    for count in range(len(words), 0, -1):
        module = f"jobs.{'_'.join(words[:count])}"
        if find_spec(module) is not None:
            return module not in _BY_PLACE and bool(getattr(import_module(module), "RESUMABLE", False))
    return True


class _Change:
    """What becomes of an artifact: pages lose what they show of the purged, drawings go where they may show some."""

    def __init__(self, root: Path, planned: Purge) -> None:
        self._uids = frozenset(planned.uids(root, (planned.every,)).to_pylist())
        self._sound = {sha256_of(path.read_bytes()) for path in root.glob("*/*/*.png") if path.name in GRIDS}

    def __call__(self, name: str, body: bytes) -> bytes:
        if name.endswith(".html"):
            return purge_page(body.decode(), self._uids).encode()
        return body if sha256_of(body) in self._sound else blank_drawing()


def _audit(root: Path, planned: Purge, by: str, changed: dict[str, int], artifacts: int) -> None:
    """A line of JSON, once a purge."""
    path = root / PURGES_FILE
    line: dict[str, Any] = {
        "id": planned.id,
        "begun": planned.begun,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": by,
        "links": planned.links,
        "pictures": planned.pictures,
        "results": changed,
        "artifacts": artifacts,
        "left_elsewhere": dict(planned.others),
    }
    with locked(root / ".purges.lock"):
        there = path.read_text() if path.exists() else ""
        if any(_id_of(old) == planned.id for old in there.splitlines()):
            return
        with path.open("a") as file:
            file.write(("" if not there or there.endswith("\n") else "\n") + canonical_json(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _id_of(line: str) -> str | None:
    """None for the part of a line that a kill has left."""
    try:
        return str(json.loads(line)["id"])
    except ValueError:
        return None
