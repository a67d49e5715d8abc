"""The samples of a tar by itself, as the WebDataset convention has them: members of one key belong together."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vlp_core.data.tar import Read, Window, members_of
from vlp_core.data.tar_names import FORMATS, parted_name

_TEXTS = ("txt", "caption", "text")


@dataclass(kw_only=True, eq=False)
class Sample:
    """A picture and what is said of it."""

    key: str
    picture: bytes | None = None
    """None: texts alone have this key."""
    offset: int = 0
    """Where in the tar its bytes begin."""
    texts: dict[str, str] = field(default_factory=dict)
    """What its members of text say, by their extension."""
    label: str | None = None
    said: dict[str, Any] = field(default_factory=dict)
    """The object of its JSON member."""

    @property
    def is_one(self) -> bool:
        return self.picture is not None or bool(self.texts) or self.label is not None


def samples(read: Read, end: int, *, ahead: int) -> Iterator[Sample]:
    """The samples of a tar of `end` bytes, in order; it is read forwards once, `ahead` bytes at a time.

    Members of one key stand together; of two pictures the first counts. Raises TarError as `members_of` does.
    """
    window = Window(read, ahead)
    sample = Sample(key="")
    for name, offset, length in members_of(window.bytes, end, ahead=0):
        key, extension = parted_name(name)
        if key != sample.key:
            if sample.is_one:
                yield sample
            sample = Sample(key=key)
        if extension in FORMATS and sample.picture is None:
            sample.offset, sample.picture = offset, window.bytes(offset, length)
        elif extension in _TEXTS:
            sample.texts.setdefault(extension, _text(window.bytes(offset, length)))
        elif extension == "cls":
            sample.label = _text(window.bytes(offset, length)).strip()
        elif extension == "json":
            sample.said = _object(window.bytes(offset, length))
    if sample.is_one:
        yield sample


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):  # of lists in lists in lists
        return {}
    return said if isinstance(said, dict) else {}
