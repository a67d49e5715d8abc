"""What the rows of a result's tables are of: it says which of them a purge takes, and what it leaves of one."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from jobs.download_shard import CONDITIONS
from jobs.held import BEFORE_FOLDER
from jobs.taken import OF_IMAGES
from vlp_core.data.layout import LEDGER_FOLDER, PAIRS
from vlp_core.data.releases import CHANGES_FILE, QUARANTINE_FILE, RELEASE_LEDGER_FOLDER


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of tables."""

    of_links: bool = False
    """Whether its rows are of links, whatever picture these showed when; else they are of a result's own pictures."""
    uids: tuple[str, ...] = ("uid",)
    """Columns that name what a row is of."""
    shown: tuple[str, ...] | None = None
    """Of links: columns with the sha256 of the pictures that a row speaks of, which may be any where there is no such
    column; None where it speaks of none."""
    before: tuple[str, ...] = ()
    """Columns of the picture that was there before, its sha256 first: where that alone goes, they are emptied."""
    stays: frozenset[str] = frozenset()
    """What is left of a row by which other tables count; of others nothing is."""


KEPT_UID, OTHER_UID = "kept_uid", "other_uid"
PICTURES = Kind(uids=("uid", KEPT_UID, OTHER_UID))  # columns by uid, indices, selections, copies
SHARD = Kind(stays=frozenset({"uid", "key", "source"}))
LIST = Kind(of_links=True, stays=frozenset({"uid", "source"}))
ASKED = Kind(of_links=True, shown=("earlier_sha256",), stays=LIST.stays)
_TIMES = frozenset({"uid", "attempts", "first_asked", "last_asked"})
ANSWERS = Kind(of_links=True, shown=("sha256",), stays=_TIMES)
KNOWN = Kind(of_links=True, shown=("sha256", "held_sha256"), stays=_TIMES)
CHANGED = Kind(of_links=True, shown=())
WAITING = Kind(
    of_links=True,
    shown=("sha256",),
    before=tuple(f"before_{end}" for end in ("sha256", "file", "offset", "length")),
)
_BY_FOLDER = {LEDGER_FOLDER: ANSWERS, RELEASE_LEDGER_FOLDER: ANSWERS, BEFORE_FOLDER: KNOWN}
_BY_NAME = {CHANGES_FILE: CHANGED, QUARANTINE_FILE: WAITING}


def kind_of(path: Path, names: Collection[str]) -> Kind:
    """The kind of a table with columns of these names: by its file, or by columns that no list can bring along."""
    here = _BY_FOLDER.get(path.parent.name) or _BY_NAME.get(path.name)
    if here is not None:
        return here
    if path.name.endswith(".images.parquet") or set(names) >= OF_IMAGES:
        return SHARD
    if {*PAIRS.names} <= set(names):
        return ASKED if {*CONDITIONS} <= set(names) else LIST
    return PICTURES
