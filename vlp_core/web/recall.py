"""Links that are taken down while they wait for their answer."""

from collections.abc import Iterable
from typing import Protocol


class Recall(Protocol):
    """Says what is not wanted any more. It is asked in a thread of its own."""

    reason: str
    """Of their answers."""

    def changed(self) -> bool:
        """Whether there is more, or less, since this was asked last: all links that are out are looked at again."""

    def taken_down(self, urls: list[str]) -> Iterable[bool]:
        """Of each of these links whether it is not wanted."""
