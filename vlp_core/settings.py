"""Settings are frozen keyword-only dataclasses; their fields say what changes a result.

A plain field is part of a step's fingerprint. `execution(...)` marks what only changes how the result is made
(time-outs, worker counts, resolver maps); `extends(...)` marks what a finished result can be carried on to (steps);
`path_or_name(...)` marks a text that may name a file.
"""

from dataclasses import field
from typing import Any

EXECUTION = "execution"
EXTENDS = "extends"
PATH_OR_NAME = "path or name"


def _marked(mark: str, default: Any, factory: Any) -> Any:
    if factory is not None:
        return field(default_factory=factory, metadata={mark: True})
    return field(default=default, metadata={mark: True})


def execution(default: Any = None, *, factory: Any = None) -> Any:
    """A dataclass field that changes how a result is made, never the result."""
    return _marked(EXECUTION, default, factory)


def extends(default: Any = None, *, factory: Any = None) -> Any:
    """A dataclass field that, when raised, lets a finished result be carried on instead of made anew."""
    return _marked(EXTENDS, default, factory)


def path_or_name(default: Any = None) -> Any:
    """A text field that may name a file or folder (also as NAME:FILE), whose content is then what counts."""
    return _marked(PATH_OR_NAME, default, None)
