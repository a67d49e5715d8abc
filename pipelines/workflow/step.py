"""A step is data: a name, a function and its inputs. Nothing here runs anything."""

import dataclasses
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.workflow.ending import UsageError
from vlp_core.errors import UserError, nearest, public_text
from vlp_core.identity import digest_of
from vlp_core.settings import BY_CONTENT, EXECUTION, EXTENDS, PATH_OR_NAME, named_path
from vlp_core.tracker import Summary


@dataclass(frozen=True, eq=False)
class Step:
    """One box of the DAG. An input that is a Step (or a tuple of them) is a dependency; anything else is a literal."""

    name: str
    run: Callable[..., Summary]
    inputs: Mapping[str, Any]
    after: tuple["Step", ...] = ()
    """Steps that must have ended well before this one starts, though nothing that they made is read."""

    @property
    def function(self) -> str:
        return f"{self.run.__module__}.{self.run.__qualname__}"

    @property
    def version(self) -> str:
        """Raised by the stage's author when the meaning of its result changes."""
        return str(getattr(sys.modules[self.run.__module__], "VERSION", "1"))

    @property
    def resumable(self) -> bool:
        """Whether the function goes on in a half-filled folder; any other is given an empty one."""
        return bool(getattr(sys.modules[self.run.__module__], "RESUMABLE", False))

    @property
    def source(self) -> Path:
        return Path(inspect.getfile(self.run))

    @property
    def dependencies(self) -> list["Step"]:
        return [*(found for value in self.inputs.values() for found in _steps_in(value)), *self.after]

    def accepts(self, parameter: str) -> bool:
        return parameter in inspect.signature(self.run).parameters

    def file(self, name: str) -> "ResultFile":
        """One file of this step's result, as an input of another step."""
        return ResultFile(self, name)


@dataclass(frozen=True)
class ResultFile:
    """A file in the result of a step; a dependency on that step."""

    step: Step
    name: str


@dataclass(frozen=True)
class Remembered:
    """A file or folder of the user's as it was once, in the place of its path: what was made of it is known by it, and
    cannot be made again."""

    name: str
    sha256: str


def step(name: str, run: Callable[..., Summary], /, **inputs: Any) -> Step:
    """A step of a pipeline; `inputs` are the keyword arguments of `run`, which is also given `out` and `tracker`."""
    parameters = inspect.signature(run).parameters
    unknown = [key for key in inputs if key not in parameters]
    if unknown:
        raise TypeError(f"step {name!r}: {run.__module__}.{run.__qualname__} takes no {unknown[0]!r}")
    return Step(name, run, inputs)


def walk(targets: Iterator[Step] | list[Step] | tuple[Step, ...]) -> list[Step]:
    """All steps that the targets need, dependencies first, in an order that only the DAG decides."""
    ordered: dict[str, Step] = {}

    def visit(current: Step) -> None:
        seen = ordered.get(current.name)
        if seen is not None:
            if seen is not current:
                raise TypeError(f"two different steps are named {current.name!r}")
            return
        for dependency in current.dependencies:
            visit(dependency)
        ordered[current.name] = current

    for target in targets:
        visit(target)
    return list(ordered.values())


def find(steps: list[Step], name: str, flag: str) -> Step:
    for candidate in steps:
        if candidate.name == name:
            return candidate
    raise UsageError(f"{flag} {name}: no such step{nearest(name, [known.name for known in steps])}")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a step's result depends on, in canonical form, and the names that follow from it."""

    fingerprint: str
    family: str
    """The fingerprint without the fields that a finished result can be carried on along (`extends`)."""
    inputs: dict[str, Any]
    extends: dict[str, Any]


def identify(
    current: Step, digest_of_step: Callable[[Step], Mapping[str, str]], digest_of_path: Callable[[Path], str]
) -> Identity:
    """The identity of a step: function, version, literals, outside files and its dependencies' records."""
    canonical = Canonical(digest_of_step, digest_of_path)
    inputs = {key: canonical.of(value, key) for key, value in sorted(current.inputs.items()) if not _only_how(value)}
    base = {"function": current.function, "version": current.version}
    family = digest_of({**base, "inputs": inputs})[:20]
    whole = digest_of({**base, "inputs": inputs, "extends": canonical.extends})[:20]
    return Identity(fingerprint=whole, family=family, inputs=_shown(inputs), extends=canonical.extends)


def _only_how(value: Any) -> bool:
    """Whether an input says nothing of what is made: settings that only change how it is."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type | Step):
        return False
    fields = dataclasses.fields(value)
    return bool(fields) and all(field.metadata.get(EXECUTION) for field in fields)


def _shown(value: Any) -> Any:
    """A canonical value as it may stand in records: without the passwords of urls, which its fingerprint knows."""
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return public_text(value) if isinstance(value, str) else value


class Canonical:
    """Turns inputs into JSON-like values that are equal exactly when the results are meant to be.

    Execution fields are left out; fields that a result can be extended along are gathered in `extends`.
    """

    def __init__(
        self, digest_of_step: Callable[[Step], Mapping[str, str]], digest_of_path: Callable[[Path], str]
    ) -> None:
        self._digest_of_step = digest_of_step
        self._digest_of_path = digest_of_path
        self.extends: dict[str, Any] = {}

    def of(self, value: Any, where: str) -> Any:
        if isinstance(value, Step):
            return dict(self._digest_of_step(value))
        if isinstance(value, ResultFile):
            return {**self._digest_of_step(value.step), "file": value.name}
        if isinstance(value, Path):
            return {"file": value.name, "sha256": self._digest_of_path(value)}
        if isinstance(value, Remembered):
            return {"file": value.name, "sha256": value.sha256}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._of_settings(value, where)
        if isinstance(value, list | tuple):
            return [self.of(item, f"{where}.{number}") for number, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where} {value}: give a finite number")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"input {where!r}: {type(value).__name__} has no canonical form")

    def _of_settings(self, value: Any, where: str) -> dict[str, Any]:
        result: dict[str, Any] = {"settings": type(value).__name__}
        for field in dataclasses.fields(value):
            if field.metadata.get(EXECUTION):
                continue
            if field.metadata.get(BY_CONTENT):
                item: Any = [self._digest_of_path(path) for path in getattr(value, field.name)]
            else:
                item = self.of(_as_path(getattr(value, field.name), field), f"{where}.{field.name}")
            if field.metadata.get(EXTENDS):
                self.extends[f"{where}.{field.name}"] = item
            else:
                result[field.name] = item
        return result


def _as_path(value: Any, field: dataclasses.Field[Any]) -> Any:
    """The file that a `path_or_name` names, where it names one, after what stands before it; its content then counts
    and not its name alone."""
    if field.metadata.get(PATH_OR_NAME) and isinstance(value, tuple):
        return tuple(_as_path(item, field) for item in value)
    if not field.metadata.get(PATH_OR_NAME) or not isinstance(value, str):
        return value
    before, path = named_path(value)
    return (before, path) if before and path else path or value


def _absolute(value: Any, field: dataclasses.Field[Any]) -> Any:
    """A path that is still right in another folder: workers have their own."""
    if isinstance(value, Path):
        return value.absolute()
    marked = field.metadata.get(PATH_OR_NAME) or field.metadata.get(BY_CONTENT)
    if marked and isinstance(value, tuple):
        return tuple(_absolute(item, field) for item in value)
    if field.metadata.get(PATH_OR_NAME) and isinstance(value, str):
        before, path = named_path(value)
        return f"{before}{path.absolute()}" if path else value
    return value


def _steps_in(value: Any) -> list[Step]:
    if isinstance(value, Step):
        return [value]
    if isinstance(value, ResultFile):
        return [value.step]
    if isinstance(value, list | tuple):
        return [found for item in value for found in _steps_in(item)]
    return []


def outside_paths(value: Any) -> list[Path]:
    """The files and folders of the user's that an input names, at any depth."""
    if isinstance(value, Path):
        return [value]
    if isinstance(value, list | tuple):
        return [found for item in value for found in outside_paths(item)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type | Step | ResultFile):
        kept = (field for field in dataclasses.fields(value) if not field.metadata.get(EXECUTION))
        return [found for field in kept for found in outside_paths(_as_path(getattr(value, field.name), field))]
    return []


def resolve(value: Any, folder_of: Callable[[Step], Path]) -> Any:
    """The value as the function gets it: a step becomes the folder of its result, a path becomes absolute."""
    if isinstance(value, Step):
        return folder_of(value)
    if isinstance(value, ResultFile):
        return folder_of(value.step) / value.name
    if isinstance(value, Path):
        return value.absolute()
    if isinstance(value, Remembered):
        raise UserError(
            f"{value.name}: changed since, and what was made of it is damaged; start again with it as it is"
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return dataclasses.replace(
            value, **{field.name: _absolute(getattr(value, field.name), field) for field in fields}
        )
    if isinstance(value, list | tuple):
        return type(value)(resolve(item, folder_of) for item in value)
    return value
