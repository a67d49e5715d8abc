"""Releases by name, wherever settings name data: `releases:NAME` or `releases:NAME@N` stands for a folder."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.workflow.record import CorruptRecordError, Record, bad_files
from vlp_core.data.adopted import PLACES, read_place
from vlp_core.data.releases import QUARANTINE_FILE, SCHEME, Release, every, find, numbers, read
from vlp_core.errors import UserError

_MEND = "put it back, or go on under another name"


def is_named(value: object) -> bool:
    return str(value).startswith(SCHEME)


def released_folder(named: str, root: Path, *, whole: bool = False) -> Path:
    """The folder of a release that is sound. UserError where there is none, or it is damaged."""
    return checked(find(root, named), whole=whole).path


def checked(release: Release, *, whole: bool = False, remember: bool = True, among: Sequence[Release] = ()) -> Release:
    """The release, if it and the tars that it reads are as they were recorded.

    Files are read where they were touched since, or all with `whole`; with `remember`, that is remembered. UserError
    that says what is wrong, and which others `among` these a tar is missed by too.
    """
    folder = release.path
    try:
        record = Record.read(folder)
    except CorruptRecordError as error:
        raise UserError(f"{release.title}: {folder} is damaged: {error}; {_MEND}") from error
    if record is None:
        raise UserError(f"{release.title}: {folder} is gone; {_MEND}")
    bad = bad_files(folder, record, whole=whole, remember=remember)
    if bad:
        raise UserError(f"{release.title}: {folder / bad[0]} is missing or not as it was recorded; {_MEND}")
    tar = _bad_tar(folder, whole=whole, remember=remember)
    if tar is not None:
        who = ", ".join([release.title, *(other.title for other in among if other != release and _reads(other, tar))])
        raise UserError(
            f"{who}: {tar}, which holds pictures of {'them' if ', ' in who else 'it'}, is gone or damaged; {_MEND}"
        )
    return release


def check_all(root: Path, name: str) -> int:
    """Read every file of all releases of a name, and of the tars that they read; how many there are. UserError that
    says what is wrong."""
    found = [read(root, name, number) for number in numbers(root, name)]
    for release in found:
        checked(release, whole=True, among=found)
    return len(found)


def _reads(release: Release, tar: Path) -> bool:
    try:
        return tar in read_in_place(release.path)
    except (OSError, ValueError, KeyError, TypeError):  # it is damaged itself
        return False


def _bad_tar(folder: Path, *, whole: bool, remember: bool) -> Path | None:
    """One that is not there as it was, by the record of the result that it is a file of; None where all are."""
    holders: dict[Path, set[str]] = {}
    for path, size in sorted(read_in_place(folder).items()):
        try:
            if size not in (0, path.stat().st_size):
                return path
        except OSError:
            return path
        holders.setdefault(path.parent, set()).add(path.name)
    for holder, names in holders.items():
        with contextlib.suppress(CorruptRecordError):  # which says nothing of the tars
            record = Record.read(holder)
            bad = [] if record is None else bad_files(holder, record, whole=whole, remember=remember, names=names)
            if bad:
                return holder / bad[0]
    return None


def held_by(root: Path, folder: Path) -> list[str]:
    """Who has pictures in the files of a result: releases by their titles, what was adopted of them by its folder."""
    titles = {release.path.resolve(): release.title for release in every(root)}
    others = (places.parent for places in root.glob(f"[!.]*/[!.]*/{PLACES}"))
    held = (other for other in others if folder.resolve() in {path.parent.resolve() for path in read_in_place(other)})
    found = [titles.get(other.resolve()) or str(other.relative_to(root)) for other in held if other != folder]
    return sorted(found, key=lambda title: ("@" not in title, title))


def read_in_place(folder: Path) -> dict[Path, int]:
    """The files elsewhere that pictures of a result lie in, those in quarantine and those that they are compared with
    too, with their sizes in bytes; 0 where that is not known."""
    found: dict[Path, int] = {}
    if (folder / QUARANTINE_FILE).exists():
        waiting = pq.read_table(folder / QUARANTINE_FILE, columns=["file", "before_file"])
        found = {Path(file): 0 for column in waiting.columns for file in column.unique().drop_null().to_pylist()}
    places = map(read_place, (folder / PLACES).glob("*.json"))
    return found | {Path(place.file): place.size for place in places}
