"""Shards that are not whole yet, which a kill has left, without what is purged."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.download_shard import WORK
from jobs.journal import JOURNAL, SPILL
from jobs.purge_tars import write_zeros
from vlp_core.data.purged import SEEN
from vlp_core.data.takedowns import Mask, Takedowns
from vlp_core.files import write_bytes

Answer = dict[str, Any]


def remove_halves(folder: Path) -> None:
    """Remove from a folder that is being filled what was written of shards whose rows, which come last, are not there:
    nobody could say what is in it, and it is made anew of the journals, or of what the stage reads."""
    written = folder.glob("[0-9]*")
    halves = [path for path in written if not (folder / f"{re.split('[._]', path.name)[0]}.parquet").exists()]
    answered = {path for journal in journals_in(folder) for path in (journal, journal.with_name(SPILL))}
    halves += [path for path in (folder / WORK).glob("*/*") if path not in answered]
    for path in filter(Path.is_file, halves):
        path.unlink()


def journals_in(folder: Path) -> list[Path]:
    """The journals of a folder that is being filled."""
    return sorted((folder / WORK).glob(f"*/{JOURNAL}"))


def taken_of_journals(folder: Path, down: Takedowns) -> pa.Table:
    """SEEN of the answers that tombstones name: by their body, or by who gave them. By their url lists name them."""
    answers = [answer for journal in journals_in(folder) for answer in _answers(_lines(journal))]
    gone = [answer for answer, named in zip(answers, _named(answers, down), strict=True) if named]
    shown = [answer.get("sha256") if answer.get("place") else None for answer in gone]
    return pa.table([_said(gone, "uid"), pa.nulls(len(gone), pa.string()), pa.array(shown, pa.string())], schema=SEEN)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Those that go: of links by their uids, and those that tombstones name by their body or by who gave them."""

    uids: frozenset[str]
    down: Takedowns

    def are_in(self, journal: Path) -> bool:
        return any(self._gone(_answers(_lines(journal))))

    def purge(self, journal: Path) -> None:
        """Take them out of a journal, and out of the spill beside it all that no answer is left of, as of one that a
        kill cut. Nobody may be at work there."""
        lines = _lines(journal)
        answers = _answers(lines)
        kept = [at for at, gone in enumerate(self._gone(answers)) if answers[at] and not gone]
        fd = os.open(journal.with_name(SPILL), os.O_RDWR | os.O_CREAT)
        try:
            end = 0
            places = sorted(answers[at]["place"] for at in kept if answers[at].get("place"))
            for offset, length in (*places, (os.fstat(fd).st_size, 0)):
                write_zeros(fd, end, offset - end)
                end = max(end, offset + length)
            os.fsync(fd)
        finally:
            os.close(fd)
        if len(kept) < len(lines):
            write_bytes(journal, b"".join(lines[at] for at in kept))

    def _gone(self, answers: Sequence[Answer]) -> list[bool]:
        named = _named(answers, self.down)
        return [bool(gone) or answer.get("uid") in self.uids for answer, gone in zip(answers, named, strict=True)]


def _named(answers: Sequence[Answer], down: Takedowns) -> Mask:
    shown = down.of_pictures(_said(answers, "sha256")) | down.of_pictures(_said(answers, "stored"))
    return down.of_urls(_said(answers, "final_url")) | shown


def _said(answers: Sequence[Answer], name: str) -> pa.Array:
    return pa.array([answer.get(name) for answer in answers], pa.string())


def _lines(journal: Path) -> list[bytes]:
    try:
        return journal.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def _answers(lines: Sequence[bytes]) -> list[Answer]:
    return [_answer(line) for line in lines]


def _answer(line: bytes) -> Answer:
    try:
        told = json.loads(line)
    except ValueError:
        return {}  # cut by a kill: nobody reads it any more, and the row is asked again
    return told if isinstance(told, dict) else {}
