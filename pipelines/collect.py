"""What of a root may go when old releases do: whole results that nothing which stays has need of."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from pipelines.graph import Graph, Result, is_model
from pipelines.words import bytes_told
from pipelines.workflow.lock import Lock
from pipelines.workflow.open_runs import FOLDER as RUNS
from pipelines.workflow.results import Results
from vlp_core.data.releases import (
    FOLDER,
    STEP,
    brought_changes,
    entry_file,
    names,
    numbers,
    read,
    read_info,
)
from vlp_core.errors import UserError
from vlp_core.files import remove_leftovers, write_text

_REMOVED = ".removed.old"
_GOING = "_going.json"


def check_keep(keep: int | None) -> None:
    if keep is not None and keep < 1:
        raise UserError(f"--keep {keep}: keep 1 release or more")


def collect(root: Path, name: str, keep: int, *, look_only: bool) -> Iterator[str]:
    """Remove all releases of a name but the last `keep`, and the last so many that differ, with what stands on them,
    but for models, and what they stand on, but for what anything else needs. Yields lines that say what goes; with
    `look_only` nothing does.

    The name is the caller's alone to refresh.
    """
    told = f"--keep {keep}: nothing is removed while {{}} works in {root}; start again when it has ended"
    if (other := at_work(root)) and not look_only:
        yield told.format(other)
        return
    old, begun = _old(root, name, keep), root / FOLDER / name / _GOING
    with ExitStack() as held:
        going = _free(root, name, old, begun, held, look_only=look_only)
        if (other := at_work(root)) and not look_only:  # what has begun since reads releases without a lock on them
            yield told.format(other)
            return
        if not look_only:
            _finish(root)
            remove_leftovers(begun.parent)
            write_text(begun, json.dumps([str(result) for result in going]) + "\n")  # a kill may come between any two
        folders, total = {result.folder for result in going}, 0
        for number in old:
            if read(root, name, number).path not in folders:
                yield f"keeps {name}@{number}, which a model or a run stands on"
                continue
            yield f"{'would remove' if look_only else 'removes'} {name}@{number}"
            if not look_only:  # first its name: a release is never half there
                entry_file(root, name, number).unlink()
        for result in going:
            size = _size(result.folder)
            total += size
            if not look_only:
                _remove(result)
            yield f"{'would remove' if look_only else 'removes'} {result}, {bytes_told(size)}"
    if not look_only:
        begun.unlink()
    yield f"--keep {keep}: {bytes_told(total)} in {len(going)} results{' would go' if look_only else ' are gone'}"


def _old(root: Path, name: str, keep: int) -> list[int]:
    """All releases but the last, and the last that differ: one that changed nothing stands for the one before it, and
    knows better when each link was asked."""
    there = numbers(root, name)
    differ: list[int] = []
    stood_for = False  # by the one after it
    for number in reversed(there):
        if not stood_for:
            differ.append(number)
        stood_for = False
        with suppress(UserError, KeyError):  # of one whose folder is gone nobody knows: it may have
            stood_for = not brought_changes(read(root, name, number).path)
    kept = {*there[-keep:], *differ[:keep]}
    return [number for number in there if number not in kept]


def _free(root: Path, name: str, old: list[int], begun: Path, held: ExitStack, *, look_only: bool) -> "list[Result]":
    """What goes, and is in nobody's use: its locks are held alone from here on."""
    used: set[Result] = set()
    locks: dict[Result, Lock] = {}
    while True:
        going = _going(root, name, old, begun, used)
        if look_only:
            return going
        for result in going:
            if result not in locks:
                lock = Results(root).lock(result.step, result.folder.name)
                if not lock.take():
                    used.add(result)
                    break
                held.callback(lock.release)
                locks[result] = lock
        else:
            return going


def _finish(root: Path) -> None:
    """Remove the rest of results whose removal a kill interrupted."""
    for path in root.glob(f"[!.]*/.*{_REMOVED}"):
        shutil.rmtree(path, ignore_errors=True)


def at_work(root: Path) -> str:
    """Who else runs a pipeline in this root; empty where nobody does."""
    for path in sorted((root / RUNS).glob("*")):
        lock = Lock(path)
        if not lock.is_free():
            return "another pipeline"
    return ""


def _going(root: Path, name: str, old: list[int], begun: Path, used: set[Result]) -> list[Result]:
    """What goes with these releases, and what a kill left of those before; what stands on others first."""
    graph = Graph.read(root, begun=True)
    kept = {
        read(root, other, number).path
        for other in names(root)
        for number in numbers(root, other)
        if other != name or number not in old
    }
    going = {result for result in graph.stands_on if result.step == STEP and _is_of(result, name, kept)}
    with_them = graph.all_under(going) | graph.all_over(going)
    with suppress(FileNotFoundError):
        left = set(json.loads(begun.read_text()))
        with_them |= {result for result in graph.stands_on if str(result) in left}
    models = {result for result in graph.stands_on if is_model(result.step)}
    stay = {result for result in graph.stands_on if result not in with_them or result.folder in kept} | used
    needed = graph.all_under(stay - models, rather_not=with_them) | graph.all_under_exactly(models)
    return graph.in_order(with_them - needed)


def _is_of(result: Result, name: str, kept: set[Path]) -> bool:
    """Whether a result is a release of this name that does not stay; one that came to nothing has no entry."""
    try:
        title = str(read_info(result.folder)["title"])
    except UserError:
        return False
    return title.partition("@")[0] == name and result.folder not in kept


def _remove(result: Result) -> None:
    """Remove a result whole."""
    removed = result.folder.with_name(f".{result.folder.name}{_REMOVED}")
    shutil.rmtree(removed, ignore_errors=True)
    result.folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
