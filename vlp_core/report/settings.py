"""What a report of a data set can be told."""

from dataclasses import dataclass
from pathlib import Path

from vlp_core.errors import UserError
from vlp_core.settings import execution


@dataclass(frozen=True, kw_only=True)
class Report:
    """One page about a data set: what was lost to what, with pictures."""

    against: Path | None = execution(None)  # by a seal of its own, for its pictures are not read to know it
    """Another data set to tell the drift from: a folder of images, or the root of an earlier release."""
    truth: Path | None = None
    """Table of what is true of each url (uid, kind, original), where that is known; the embedded corpus brings its
    own."""
    rows: int = 200_000
    """Rows that histograms, hosts, what-if counts and examples are taken from: whole shards, evenly spread; all where
    there are no more."""
    examples: int = 6
    """Pictures shown of each kind, 0 to 24."""

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UserError(f"--report.rows {self.rows}: give 1 or more")
        if not 0 <= self.examples <= 24:
            raise UserError(f"--report.examples {self.examples}: give 0 to 24 pictures of each kind")
