"""Releases: a data set is a series of them under one name, each an images folder that never changes.

{root}/releases/{NAME}/{number:04d}.json    which result of the step `release` it is; written once it is whole
{root}/release/{fingerprint}/               images (pictures stay in the tars that they were fetched into), and:
    release.json, card.md                   who it is and its counts; the same for people
    changes.parquet                         CHANGES since the release before
    quarantine.parquet                      QUARANTINE: pictures that are not what was there before
    ledger/{shard}.parquet                  LEDGER of the shard's rows, in their order
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from vlp_core.data.purged import purged_pictures
from vlp_core.errors import UserError, first_line, nearest
from vlp_core.files import replacing
from vlp_core.identity import canonical_json, digest_of
from vlp_core.settings import execution

SCHEME = "releases:"
FOLDER, STEP = "releases", "release"
INFO_FILE, CARD_FILE, CHANGES_FILE, QUARANTINE_FILE = "release.json", "card.md", "changes.parquet", "quarantine.parquet"
RELEASE_LEDGER_FOLDER = "ledger"
DATA_SETS_FILE = "_DATASETS.json"
"""What a stage leaves of the releases that it made or read: a list of `data_set_of`, each with its `context`."""

# Statuses of rows that have no picture in the release, though one was fetched.
QUARANTINED, TAKEN_DOWN = "quarantined", "taken_down"

CHANGE = ("added", "removed", "changed", "captions", "quarantined", "taken_down")
"""What a row of CHANGES says, and the names by which a release counts them."""
CHANGES = pa.schema([("uid", pa.string()), ("url", pa.string()), ("change", pa.string())])
# The picture that came, and the one that was there before it, where there was one: sha256 of the bodies, and where
# they lie.
QUARANTINE = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("reason", pa.string()),
        ("since", pa.timestamp("s", "UTC")),
        ("sha256", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("before_sha256", pa.string()),
        ("before_file", pa.string()),
        ("before_offset", pa.int64()),
        ("before_length", pa.int64()),
    ]
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TITLE = re.compile(r"(?P<name>[^@]*)(?:@(?P<number>.*))?")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release by name and number: where it lies, and the digest of its rows and pictures."""

    name: str
    number: int
    root: str
    folder: str
    """Relative to the root."""
    digest: str
    as_of: str
    """When its refresh began."""

    @property
    def title(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def path(self) -> Path:
        return Path(self.root) / self.folder


@dataclass(frozen=True, kw_only=True)
class Next:
    """The release that is being made: its name and number, when its refresh began, and the digest of the one before."""

    name: str
    number: int
    as_of: str
    before: str | None
    folder: Path | None = execution(None)
    """Where the one before lies."""
    takedowns: Path | None = execution(None)
    """Where tombstones are, or may come to be while it is made."""

    @property
    def title(self) -> str:
        return f"{self.name}@{self.number}"


def parted(title: str) -> tuple[str, int | None]:
    """NAME and N of NAME@N; None for a NAME alone. UserError for what names no release."""
    found = _TITLE.fullmatch(title)
    name, number = (found["name"], found["number"]) if found else (title, None)
    if not _NAME.fullmatch(name):
        raise UserError(f"{title!r}: no name of a release; begin with a letter or digit, then letters, digits, '.-_'")
    if number is not None and (not number.isascii() or not number.isdigit() or int(number) < 1):
        raise UserError(f"{title!r}: after @ stands a release's number, 1 or more; write {name}@1")
    return name, None if number is None else int(number)


def names(root: Path) -> list[str]:
    """The names of all series of a root."""
    return sorted(path.name for path in (root / FOLDER).glob("*") if path.is_dir() and numbers(root, path.name))


def numbers(root: Path, name: str) -> list[int]:
    """The releases of a name that there are, in order."""
    return sorted(int(path.stem) for path in (root / FOLDER / name).glob("*.json") if path.stem.isdigit())


def every(root: Path) -> "list[Release]":
    """All releases of a root, by name and number. UserError as `read`."""
    return [read(root, name, number) for name in names(root) for number in numbers(root, name)]


def entry_file(root: Path, name: str, number: int) -> Path:
    return root / FOLDER / name / f"{number:04d}.json"


def newest(root: Path, name: str) -> Release | None:
    """The last release of a name; None where there is none yet. UserError where one differs in capitals alone."""
    like = [other for other in names(root) if other.lower() == name.lower() and other != name]
    if like:
        raise UserError(f"{name}: taken by {like[0]}, which differs in capitals alone; give another name")
    found = numbers(root, name)
    return read(root, name, found[-1]) if found else None


def read(root: Path, name: str, number: int) -> Release:
    """A release that there is, below the root as it is named here. UserError where what names it is damaged, or belongs
    to another root."""
    path = entry_file(root, name, number)
    try:
        release = Release(**json.loads(path.read_text()))
        if (release.name, release.number) != (name, number):
            raise ValueError(f"it is of {release.title}")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: does not say what {name}@{number} is ({first_line(error)}); put it back") from error
    made_in = Path(release.root)
    if made_in != root and not (made_in.exists() and root.exists() and made_in.samefile(root)):
        raise UserError(
            f"{release.title}: made in {made_in}, where its pictures lie, not in {root}; give that as --root"
        )
    return replace(release, root=str(root))


def find(root: Path, title: str) -> Release:
    """The release that NAME@N, or the newest that NAME, stands for. UserError where there is none."""
    name, number = parted(title.removeprefix(SCHEME))
    there = numbers(root, name)
    if not there:
        known = names(root)
        raise UserError(
            f"{SCHEME}{name}: no such release in {root}{nearest(name, known) if known else '; none is there'}"
        )
    if number is not None and number not in there:
        raise UserError(f"{SCHEME}{name}@{number}: no such release; there {_listed(there)}")
    return read(root, name, number or there[-1])


def enter(release: Release) -> None:
    """Give a whole release its name. Said again of the same, it stays; UserError where another has the number."""
    path = entry_file(Path(release.root), release.name, release.number)
    try:
        with replacing(path, once=True) as temporary:
            temporary.write_text(canonical_json(asdict(release)) + "\n")
    except FileExistsError:
        if read(Path(release.root), release.name, release.number) != release:
            raise UserError(f"{release.title}: taken, another refresh has made it meanwhile; start again") from None


def read_info(folder: Path) -> dict[str, Any]:
    """What a release says of itself. UserError where it does not."""
    try:
        return dict(json.loads((folder / INFO_FILE).read_text()))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / INFO_FILE}: not readable ({first_line(error)}); give the folder of a release"
        ) from error


def brought_changes(folder: Path) -> bool:
    """Whether a release has other pictures or captions than the one before it. UserError as `read_info`."""
    counts = read_info(folder)["counts"]
    return any(counts[change] for change in CHANGE)


def data_set_of(folder: Path) -> dict[str, Any] | None:
    """A release as MLflow is told of it: name, digest, counts and where it lies; None for a folder that is none.

    One of which pictures were purged is another data set from then on.
    """
    if not (folder / INFO_FILE).exists():
        return None
    info, gone = read_info(folder), purged_pictures(folder)
    digest, counts = info["digest"], info["counts"]
    if gone:
        digest = digest_of({"release": digest, "purged": gone})
        counts = {**counts, "pictures": counts["pictures"] - len(gone), "purged": len(gone)}
    return {"name": info["title"], "digest": digest, "source": str(folder), "counts": counts}


def _listed(there: Sequence[int]) -> str:
    if len(there) == 1:
        return f"is @{there[0]} alone"
    return (
        f"are @{there[0]} to @{there[-1]}"
        if there[-1] - there[0] == len(there) - 1
        else ("are " + ", ".join(f"@{number}" for number in there))
    )
