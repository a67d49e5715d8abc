"""Releases by name, wherever settings name data: `releases:NAME` or `releases:NAME@N` stands for a folder."""

from pathlib import Path

from pipelines.workflow.record import CorruptRecordError, Record, bad_files
from vlp_core.data.adopted import PLACES, read_place
from vlp_core.data.releases import SCHEME, Release, find
from vlp_core.errors import UserError

_MEND = "put it back, or go on under another name"


def is_named(value: object) -> bool:
    return str(value).startswith(SCHEME)


def released_folder(named: str, root: Path) -> Path:
    """The folder of a release that is whole. UserError where there is none, or it is damaged."""
    return checked(find(root, named)).path


def checked(release: Release, *, remember: bool = True) -> Release:
    """The release, if it is as it was recorded and the tars that it reads are there.

    Files are read where they were touched since; with `remember`, that is remembered. UserError that says what is
    wrong.
    """
    folder = release.path
    try:
        record = Record.read(folder)
    except CorruptRecordError as error:
        raise UserError(f"{release.title}: {folder} is damaged: {error}; {_MEND}") from error
    if record is None:
        raise UserError(f"{release.title}: {folder} is gone; {_MEND}")
    bad = bad_files(folder, record, whole=False, remember=remember)
    if bad:
        raise UserError(f"{release.title}: {folder / bad[0]} is missing or not as it was recorded; {_MEND}")
    for place in sorted((folder / PLACES).glob("*.json")):
        tar = read_place(place)
        try:
            whole = Path(tar.file).stat().st_size == tar.size
        except OSError:
            whole = False
        if not whole:
            raise UserError(f"{release.title}: {tar.file}, which holds pictures of it, is gone or damaged; {_MEND}")
    return release
