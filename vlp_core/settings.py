"""Settings are frozen keyword-only dataclasses; their fields say what changes a result.

A plain field is part of a step's fingerprint. `execution(...)` marks what only changes how the result is made
(time-outs, worker counts, resolver maps); `extends(...)` marks what a finished result can be carried on to (steps);
`path_or_name(...)` marks a text, or several, that may name a file; `by_content(...)` files whose names do not count;
`elsewhere(...)` folders of other runs.
"""

import re
from dataclasses import field
from pathlib import Path
from typing import Any

EXECUTION = "execution"
EXTENDS = "extends"
PATH_OR_NAME = "path or name"
BY_CONTENT = "by content"
ELSEWHERE = "elsewhere"
HUB = "timm:"
"""What begins the name of one of timm's encoders among sources of weights."""


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
    """A field of a text, or a tuple of them, that may name a file or folder (also as PART=FILE or NAME:FILE), whose
    content is then what counts."""
    return _marked(PATH_OR_NAME, default, None)


def by_content(default: Any = None) -> Any:
    """A field of a tuple of files: what is in them counts, not what they are called."""
    return _marked(BY_CONTENT, default, None)


def elsewhere(default: Any = None) -> Any:
    """A field of a tuple of folders that other runs made; what is read of them are inputs of steps, so that the field
    itself changes no result. The root of the run that is given them is refused."""
    return field(default=default, metadata={ELSEWHERE: True, EXECUTION: True})


def named_path(text: str) -> tuple[str, Path | None]:
    """What stands before a path in a text (`PART=`, `NAME:`, both or nothing), and the path, where there is one."""
    for begin in (0, *(mark.end() for mark in re.finditer("[=:]", text))):
        if text[begin:] and Path(text[begin:]).exists():
            return text[:begin], Path(text[begin:])
    return "", None
