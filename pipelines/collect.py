"""What of a root may go when old releases do: whole results that nothing which stays has need of."""

import json
import shutil
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Coming:
    """The releases that a refresh would add before old ones go."""

    certain: int = 0
    possible: int = 0
    needs: frozenset[Path] = frozenset()
    """The folders of results that they would stand on, resolved: a root may be reached by several names."""

    def cases(self) -> list[tuple[str, tuple[bool, ...]]]:
        """What may come of it, the least first: in words, and of each release whether it has other pictures or captions
        than the one before it. More goes in each than in those before it."""
        cases = [("", (False,) * self.certain)]
        if self.possible > self.certain:
            cases.append((" (where this refresh makes a release)", (False,) * self.possible))
        if self.possible:
            words = " (where this refresh makes a release with other pictures or captions)"
            cases.append((words, (True,) * self.possible))
        return cases


def rehearse(root: Path, name: str, keep: int, coming: Coming) -> Iterator[str]:
    """Lines about what `collect` would remove once there is what is coming; nothing is. Of what the newest release has
    pictures in the next ones are taken to need all."""
    releases: dict[int, str] = {}
    going: dict[Result, str] = {}
    for where, brought in coming.cases():
        old = _old(root, name, keep, brought)
        if where and set(old) == releases.keys():
            continue
        releases = dict.fromkeys(old, where) | releases
        found = _going(root, name, old, root / FOLDER / name / _GOING, set(), coming.needs)
        going |= {result: where for result in found if result not in going}
    folders = {result.folder for result in going}
    for number in sorted(releases):
        if read(root, name, number).path in folders:
            yield f"would remove {name}@{number}{releases[number]}"
        else:
            yield f"keeps {name}@{number}, which a model or a run stands on"
    sizes = {result: _size(result.folder) for result in going}
    for result, where in going.items():
        yield f"would remove {result}, {bytes_told(sizes[result])}{where}"
    sure = [size for result, size in sizes.items() if not going[result]]
    most = f", at most {bytes_told(sum(sizes.values()))} in {len(sizes)}" if len(sure) < len(sizes) else ""
    yield f"--keep {keep}: {bytes_told(sum(sure))} in {len(sure)} results would go{most}"


def collect(root: Path, name: str, keep: int) -> Iterator[str]:
    """Remove all releases of a name but the last `keep`, and the last so many that differ, with what stands on them,
    but for models, and what they stand on, but for what anything else needs. Yields lines that say what goes.

    The name is the caller's alone to refresh.
    """
    told = f"--keep {keep}: nothing is removed while {{}} works in {root}; start again when it has ended"
    if other := at_work(root):
        yield told.format(other)
        return
    old, begun = _old(root, name, keep), root / FOLDER / name / _GOING
    with ExitStack() as held:
        going = _free(root, name, old, begun, held)
        if other := at_work(root):  # what has begun since reads releases without a lock on them
            yield told.format(other)
            return
        _finish(root)
        remove_leftovers(begun.parent)
        write_text(begun, json.dumps([str(result) for result in going]) + "\n")  # a kill may come between any two
        folders, total = {result.folder for result in going}, 0
        for number in old:
            if read(root, name, number).path not in folders:
                yield f"keeps {name}@{number}, which a model or a run stands on"
                continue
            yield f"removes {name}@{number}"
            entry_file(root, name, number).unlink()  # first its name: a release is never half there
        for result in going:
            size = _size(result.folder)
            total += size
            _remove(result)
            yield f"removes {result}, {bytes_told(size)}"
    begun.unlink()
    yield f"--keep {keep}: {bytes_told(total)} in {len(going)} results are gone"


def _old(root: Path, name: str, keep: int, brought: Sequence[bool] = ()) -> list[int]:
    """All releases but the last, and the last that differ: one that changed nothing stands for the one before it, and
    knows better when each link was asked. `brought`: of releases that come after those that are there whether each
    changed something."""
    there = numbers(root, name)
    coming = dict(enumerate(brought, there[-1] + 1 if there else 1))
    every = [*there, *coming]
    differ: list[int] = []
    stood_for = False  # by the one after it
    for number in reversed(every):
        if not stood_for:
            differ.append(number)
        stood_for = number in coming and not coming[number]
        if number not in coming:
            with suppress(UserError, KeyError):  # of one whose folder is gone nobody knows: it may have
                stood_for = not brought_changes(read(root, name, number).path)
    kept = {*every[-keep:], *differ[:keep]}
    return [number for number in there if number not in kept]


def _free(root: Path, name: str, old: list[int], begun: Path, held: ExitStack) -> "list[Result]":
    """What goes, and is in nobody's use: its locks are held alone from here on."""
    used: set[Result] = set()
    locks: dict[Result, Lock] = {}
    while True:
        going = _going(root, name, old, begun, used)
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


def _going(
    root: Path, name: str, old: list[int], begun: Path, used: set[Result], needs: Set[Path] = frozenset()
) -> list[Result]:
    """What goes with these releases, and what a kill left of those before; what stands on others first. Folders that
    something `needs` stay."""
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
    stay |= {result for result in with_them if result.folder.resolve() in needs}
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
