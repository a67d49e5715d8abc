"""Releases by name, wherever settings name data: `releases:NAME` or `releases:NAME@N` stands for a folder."""

import contextlib
from pathlib import Path

from pipelines.workflow.record import CorruptRecordError, Record, bad_files
from vlp_core.data.adopted import PLACES, read_place
from vlp_core.data.releases import SCHEME, Release, every, find, numbers, read
from vlp_core.errors import UserError

_MEND = "put it back, or go on under another name"


def is_named(value: object) -> bool:
    return str(value).startswith(SCHEME)


def released_folder(named: str, root: Path, *, whole: bool = False) -> Path:
    """The folder of a release that is sound. UserError where there is none, or it is damaged."""
    return checked(find(root, named), whole=whole).path


def checked(release: Release, *, whole: bool = False, remember: bool = True) -> Release:
    """The release, if it and the tars that it reads are as they were recorded.

    Files are read where they were touched since, or all with `whole`; with `remember`, that is remembered. UserError
    that says what is wrong.
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
        raise UserError(f"{release.title}: {tar}, which holds pictures of it, is gone or damaged; {_MEND}")
    return release


def check_all(root: Path, name: str) -> int:
    """Read every file of all releases of a name, and of the tars that they read; how many there are. UserError that
    says what is wrong."""
    found = [read(root, name, number) for number in numbers(root, name)]
    for release in found:
        checked(release, whole=True)
    return len(found)


def _bad_tar(folder: Path, *, whole: bool, remember: bool) -> Path | None:
    """One that is not there as it was, by the record of the result that it is a file of; None where all are."""
    holders: dict[Path, set[str]] = {}
    for place in sorted((folder / PLACES).glob("*.json")):
        tar = read_place(place)
        path = Path(tar.file)
        try:
            if path.stat().st_size != tar.size:
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
    found = []
    for places in sorted(root.glob(f"[!.]*/[!.]*/{PLACES}")):
        files = (Path(read_place(place).file) for place in places.glob("*.json"))
        if places.parent != folder and any(file.parent.resolve() == folder.resolve() for file in files):
            found.append(titles.get(places.parent.resolve()) or str(places.parent.relative_to(root)))
    return sorted(found, key=lambda title: ("@" not in title, title))
