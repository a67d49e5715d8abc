"""What each result of a root stands on.

A result stands on those that its record names by their content, and an images folder on those whose pictures it reads.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.workflow.record import BEGUN, RECORD, CorruptRecordError, Record
from pipelines.workflow.released import read_in_place
from pipelines.workflow.results import Results
from vlp_core.errors import UserError


@dataclass(frozen=True)
class Result:
    """A result of a root by step and folder."""

    step: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.step}/{self.folder.name}"


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
                if is_model(said["step"]):
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
    found |= {path.parent for path in read_in_place(folder)}
    return {path.resolve() for path in found}


def is_model(step: str) -> bool:
    """What stays whatever becomes of the release: a model that somebody waited for, registered or not, whole or not."""
    return step.partition("-")[0] in ("register", "train")
