"""What an answer becomes: a picture as it is stored, or why there is none."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa

from jobs.download_shard import NOT_FETCHED, NOT_STORED
from jobs.journal import Outcome
from jobs.never_store import REASON, read_never_store
from vlp_core.data.layout import SUCCESS, UNCHANGED
from vlp_core.data.purged import TAKEN_REASON
from vlp_core.data.takedowns import Mask, Standing, Takedowns
from vlp_core.identity import sha256_of
from vlp_core.uids import Texts
from vlp_core.web.link import Answer, Link
from vlp_core.web.picture import Stored, make_store
from vlp_core.web.settings import Fetch
from vlp_core.web.sniff import NotAnImageError, sniff

_MOST_LETTERS = 1000  # of what a server calls its answer


class Examiner:
    """What became of a link, and the picture that is to be stored; for a crawl, what it is to `recall`. Threads may
    share it.

    UserError for files of `fetch`, or of tombstones, that cannot be read.
    """

    reason = TAKEN_REASON

    def __init__(self, fetch: Fetch, takedowns: Path | None = None) -> None:
        self._store, self._listed = make_store(fetch), read_never_store(fetch.never_store)
        self._never, self._standing = self._listed, Standing(takedowns)
        self._down: Takedowns | None = None
        self._looking = Lock()
        self._told = self._look()

    def changed(self) -> bool:
        """Whether anything was taken down since this was asked last."""
        told, self._told = self._told, self._look()
        return self._told is not told

    def taken_down(self, urls: Texts | Sequence[str]) -> Mask:
        """bool [N]: which links are taken down by now."""
        down = self._look()
        return np.zeros(len(urls), dtype=bool) if down is None else down.of_urls(_texts(urls))

    @property
    def edition(self) -> Takedowns | None:
        """What is taken down as it was last looked at; another object as soon as that is otherwise."""
        return self._down

    def refuses(self, outcome: Outcome) -> bool:
        """Whether a picture that came must not be stored, by what is known by now."""
        return any(sha256 is not None and self._never.has(sha256) for sha256 in (outcome.sha256, outcome.stored))

    def _look(self) -> Takedowns | None:
        with self._looking:
            down = self._standing.look()
            if down is not None and down is not self._down:
                self._down, self._never = down, self._listed.and_also(down.sha256)
            return down

    def _led_to_what_is_down(self, answer: Answer, link: Link) -> bool:
        """Whether a link that is not taken down itself led to one that is."""
        down = self._down
        if down is None or answer.final_url is None or answer.final_url == link.url:
            return False
        return bool(down.of_urls(pa.array([answer.final_url], pa.string()))[0])

    @property
    def looks(self) -> bool:
        """Whether all pictures have to be looked at: that one has not changed says too little."""
        return self._never.by_looks

    def __call__(self, answer: Answer, link: Link, earlier_sha256: str | None) -> tuple[Outcome, bytes | None]:
        """Of an answer, its link, and the sha256 that an earlier body had."""
        came = Outcome(
            status=NOT_FETCHED,
            error_message=answer.reason,
            attempts=answer.attempts,
            asked=int(1000 * time.time()),
            http_status=answer.http_status,
            final_url=answer.final_url,
            etag=_said(answer.etag),
            last_modified=_said(answer.last_modified),
        )
        refused = replace(came, error_message=REASON, etag=None, last_modified=None)
        if self._led_to_what_is_down(answer, link):
            return replace(came, error_message=TAKEN_REASON, etag=None, last_modified=None), None
        if answer.not_modified:
            if earlier_sha256 is not None and self._never.has(earlier_sha256):
                return refused, None
            came = replace(came, etag=came.etag or link.etag, last_modified=came.last_modified or link.last_modified)
            return replace(came, status=UNCHANGED, error_message=None, sha256=earlier_sha256), None
        if answer.body is None:
            return came, None
        digest = sha256_of(answer.body)
        if self._never.has(digest):
            return refused, None
        came = replace(came, sha256=digest)
        same = digest == earlier_sha256
        unchanged = replace(came, status=UNCHANGED, error_message=None)
        if same and not self.looks:
            return unchanged, None
        try:
            header = sniff(answer.body)
            stored = self._store(answer.body, header)
        except NotAnImageError as error:
            stored = str(error)
        if isinstance(stored, Stored) and (self._never.is_stored_as(stored.jpeg) or self._never.resembles(stored.jpeg)):
            return refused, None
        if same:
            return unchanged, None
        if isinstance(stored, str):
            return replace(came, status=NOT_STORED, error_message=stored), None
        found = replace(
            came,
            status=SUCCESS,
            error_message=None,
            width=stored.width,
            height=stored.height,
            original_width=stored.original_width,
            original_height=stored.original_height,
            bytes=len(answer.body),
            format=header.kind,
        )
        return found, stored.jpeg


def _texts(urls: Texts | Sequence[str]) -> Texts:
    return urls if isinstance(urls, Texts) else pa.array(urls, pa.string())


def _said(text: str | None) -> str | None:
    """What a server calls its answer, where it can be kept as text and sent back to it as it was."""
    return text if text and text.isascii() and text.isprintable() and len(text) <= _MOST_LETTERS else None
