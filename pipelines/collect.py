"""What of a root may go when old releases do: whole results that nothing which stays has need of.

A result stands on those that its record names by their content, and an images folder on those whose pictures it reads.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.words import bytes_told
from pipelines.workflow.lock import Lock
from pipelines.workflow.open_runs import FOLDER as RUNS
from pipelines.workflow.record import BEGUN, RECORD, CorruptRecordError, Record
from pipelines.workflow.results import Results
from vlp_core.data.adopted import PLACES, read_place
from vlp_core.data.releases import (
    FOLDER,
    QUARANTINE_FILE,
    STEP,
    brought_changes,
    entry_file,
    names,
    numbers,
    read,
    read_info,
)
from vlp_core.errors import UserError
from vlp_core.files import write_text

_REMOVED = ".removed.old"
_GOING = "_going.json"


def check_keep(keep: int | None) -> None:
    if keep is not None and keep < 1:
        raise UserError(f"--keep {keep}: keep 1 release or more")


@dataclass(frozen=True)
class Result:
    """A result of a root by step and folder."""

    step: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.step}/{self.folder.name}"


def collect(root: Path, name: str, keep: int, *, look_only: bool) -> Iterator[str]:
    """Remove all releases of a name but the last `keep`, and the last so many that differ, with what stands on them,
    but for models, and what they stand on, but for what anything else needs. Yields lines that say what goes; with
    `look_only` nothing does.

    The name is the caller's alone to refresh.
    """
    other = at_work(root)
    if other and not look_only:
        yield f"--keep {keep}: nothing is removed while {other} works in {root}; start again when it has ended"
        return
    old, begun = _old(root, name, keep), root / FOLDER / name / _GOING
    with ExitStack() as held:
        going = _free(root, name, old, begun, held, look_only=look_only)
        if not look_only:
            _finish(root)
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
    models = {result for result in graph.stands_on if _is_model(result.step)}
    stay = {result for result in graph.stands_on if result not in with_them or result.folder in kept} | used
    needed = graph.all_under(stay - models, rather_not=with_them) | graph.all_under_exactly(models)
    return graph.in_order(with_them - needed)


def _is_model(step: str) -> bool:
    """What stays whatever becomes of the release: a model that somebody waited for, registered or not, whole or not."""
    return step.partition("-")[0] in ("register", "train")


def _is_of(result: Result, name: str, kept: set[Path]) -> bool:
    """Whether a result is a release of this name that does not stay; one that came to nothing has no entry."""
    try:
        title = str(read_info(result.folder)["title"])
    except UserError:
        return False
    return title.partition("@")[0] == name and result.folder not in kept


@dataclass(frozen=True)
class Graph:
    """Of each result of a root those that it needs, one of each set: several may have the content that it names."""

    needs: Mapping[Result, tuple[frozenset[Result], ...]]
    made_of: Mapping[Result, frozenset[Result]]
    """Of those the ones that it was made of, where that is known."""

    @cached_property
    def stands_on(self) -> Mapping[Result, frozenset[Result]]:
        """All that a result may stand on."""
        return {result: frozenset().union(*needed) for result, needed in self.needs.items()}

    @staticmethod
    def read(root: Path, *, begun: bool = False) -> "Graph":
        """Of results that are whole; and of models whose training has `begun`. UserError where a record is damaged."""
        records: dict[Result, Record] = {}
        for path in sorted(root.glob(f"[!.]*/[!.]*/{RECORD}")):
            try:
                record = Record.read(path.parent)
            except CorruptRecordError as error:
                raise UserError(f"{path.parent}: {error}; start the pipeline that made it, or remove it") from error
            if record is not None and path.parent.suffix == "":
                records[Result(record.step, path.parent)] = record
        by_content: dict[tuple[str, str], set[Result]] = {}
        by_folder = {result.folder.resolve(): result for result in records}
        for result, record in records.items():
            by_content.setdefault((record.step, record.content), set()).add(result)
        found, made_of = {}, {}
        for result, record in records.items():
            made_of[result] = _results(root, Results(root).run_of(record).get("inputs", ()))
            named = [by_content.get(key, set()) for key in _named({**record.inputs, **record.extends})]
            read = [{by_folder[folder]} for folder in _folders(record, result.folder) if folder in by_folder]
            found[result] = tuple(frozenset(some - {result}) for some in (*named, *read) if some - {result})
        for folder in (path.parent for path in root.glob(f"[!.]*/[!.]*.partial/{BEGUN}") if begun):
            with suppress(FileNotFoundError):  # it is whole by now
                said = json.loads((folder / BEGUN).read_text())
                if _is_model(said["step"]):
                    result, named = Result(said["step"], folder), [by_content.get(key, set()) for key in _named(said)]
                    found[result] = tuple(frozenset(some) for some in named if some)
                    made_of[result] = _results(root, said["made_of"])
        return Graph(found, made_of)

    def all_under(self, results: set[Result], rather_not: Set[Result] = frozenset()) -> set[Result]:
        """These, and all that they stand on; of several that have what one needs those that are not `rather_not`."""
        return self._under(results, lambda _, some: some - rather_not)

    def all_under_exactly(self, results: set[Result]) -> set[Result]:
        """These, and all that they were made of, though something else may have just that too."""
        return self._under(results, lambda result, some: some & self.made_of[result])

    def _under(
        self, results: set[Result], choose: Callable[[Result, frozenset[Result]], frozenset[Result]]
    ) -> set[Result]:
        found, waiting = set(results), list(results)
        while waiting:
            result = waiting.pop()
            new = set[Result]().union(*(choose(result, some) or some for some in self.needs[result])) - found
            found |= new
            waiting += new
        return found

    def all_over(self, results: set[Result]) -> set[Result]:
        """All that cannot stand without these, but not these."""
        found, known = set(results), 0
        while known != len(found):
            known = len(found)
            found |= {result for result, needed in self.needs.items() if any(some <= found for some in needed)}
        return found - results

    def in_order(self, results: set[Result]) -> list[Result]:
        """What stands on others before those: a kill between leaves nothing without what it stands on."""
        ordered: dict[Result, None] = {}

        def visit(result: Result) -> None:
            if result not in ordered:
                for below in sorted(self.stands_on[result] & results, key=str):
                    visit(below)
                ordered[result] = None

        for result in sorted(results, key=str):
            visit(result)
        return list(ordered)[::-1]


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Steps and contents that the inputs in a record name, at any depth."""
    if isinstance(value, Mapping):
        if "step" in value and "content" in value:
            yield str(value["step"]), str(value["content"])
        for item in value.values():
            yield from _named(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)


def _results(root: Path, named: Iterable[str]) -> frozenset[Result]:
    """Of words such as step/fingerprint."""
    return frozenset(Result(name.partition("/")[0], root / name) for name in named)


def _folders(record: Record, folder: Path) -> set[Path]:
    """Folders whose files a result reads in place, and those of which it was made by path: by one name each, for a root
    may be reached by several."""
    sources = record.inputs.get("sources")
    given = sources if isinstance(sources, list) else []
    found = {Path(source) for source in given if isinstance(source, str) and "://" not in source}
    found |= {Path(read_place(place).file).parent for place in (folder / PLACES).glob("*.json")}
    if (folder / QUARANTINE_FILE).exists():  # the pictures with which later ones are compared
        before = pq.read_table(folder / QUARANTINE_FILE, columns=["before_file"])["before_file"].unique()
        found |= {Path(file).parent for file in before.drop_null().to_pylist()}
    return {path.resolve() for path in found}


def _remove(result: Result) -> None:
    """Remove a result whole."""
    removed = result.folder.with_name(f".{result.folder.name}{_REMOVED}")
    shutil.rmtree(removed, ignore_errors=True)
    result.folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
