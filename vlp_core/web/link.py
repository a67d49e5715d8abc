"""What is asked for, and what came of it."""

from dataclasses import dataclass

from yarl import URL


@dataclass(frozen=True, slots=True)
class Link:
    """A link; with `etag` or `last_modified` of an earlier answer it is asked for only if it has changed since."""

    url: str
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a link: `body`, `not_modified`, or `reason`, which holds neither addresses nor times.

    `attempts` is 0 where nobody was asked: the host is known to be dead, or its rules forbid it. `etag` and
    `last_modified` are the server's words, to be handed to a later `Link`.
    """

    body: bytes | None = None
    reason: str | None = None
    http_status: int | None = None
    final_url: str | None = None
    attempts: int = 1
    etag: str | None = None
    last_modified: str | None = None
    not_modified: bool = False


def parsed(link: str, base: URL | None = None) -> URL | None:
    """A link in its parts, seen from `base` where it is relative; None where it cannot be read."""
    try:
        return URL(link) if base is None else base.join(URL(link))
    except Exception:  # yarl has more than ValueError for what is no link: http://[]@ is an IndexError
        return None
