"""What --source names, be it links or data that is there already, becomes the step of its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs import adopt, adopt_pictures, download, ingest
from pipelines.workflow.step import ResultFile, Step, step
from vlp_core.curation.formats import suffix_of
from vlp_core.curation.lists import CAPTION_NAMES, SUFFIXES, check_format, check_list, is_table
from vlp_core.curation.settings import Ingest
from vlp_core.data.ends import check_ends
from vlp_core.data.parts import Part, check, digest, parts_of
from vlp_core.data.settings import Adopt
from vlp_core.data.store import is_url, location
from vlp_core.errors import UserError, public_text
from vlp_core.web.settings import Fetch


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Sources by what they are: lists of links (or folders of them), caption tables, and shards with pictures."""

    lists: tuple[Path, ...]
    tables: tuple[Path, ...]
    sets: tuple[str, ...]
    parts: tuple[Part, ...]


def images_of(
    sources: Sequence[str | Path] | ResultFile,
    *,
    ending: str = "",
    ingest_settings: Ingest,
    fetch: Fetch,
    adopt_settings: Adopt,
    serve: Step | None,
) -> Step:
    """The step whose result holds the pictures of these sources; `ending` ends the names of the steps.

    Links are fetched, and what is there already is adopted; where there are both, that too is one folder.
    """
    # Columns are named for the training list; an evaluation list that lacks them is recognised by itself.
    settings = {"ingest": ingest_settings, "recognise": bool(ending)}
    if isinstance(sources, ResultFile):
        pairs = step(f"ingest{ending}", ingest.run, sources=sources, **settings)
        return step(f"download{ending}", download.run, pairs=pairs, fetch=fetch, serve=serve)
    found = sort_out([str(source) for source in sources], adopt_settings)
    check_lists(found.lists, ingest_settings, recognise=bool(ending))
    if not adopt_settings.skip_damaged:
        check_ends(found.parts)
    made: list[Step] = []
    if found.lists:
        pairs = step(f"ingest{ending}", ingest.run, sources=found.lists, **settings)
        made.append(step(f"download{ending}", download.run, pairs=pairs, fetch=fetch, serve=serve))
    if found.tables:
        files = replace(ingest_settings, url_column=adopt_settings.file_column)
        tables = {"sources": found.tables, "ingest": files, "recognise": bool(ending), "files": True}
        pairs = step(f"ingest-pictures{ending}", ingest.run, **tables)
        folders = folders_of(found.tables, adopt_settings)
        listing = adopt_pictures.listing(found.tables, folders, ingest=files, recognise=bool(ending))
        made.append(step(f"adopt-pictures{ending}", adopt_pictures.run, pairs=pairs, folders=folders, listing=listing))
    if len(made) == 1 and not found.sets:
        return made[0]
    return step(
        f"adopt{ending}",
        adopt.run,
        sources=found.sets,
        listing=digest(found.parts),
        caption_names=CAPTION_NAMES,
        caption_column=ingest_settings.caption_column,
        recognise=bool(ending),
        made=tuple(made),
        adopt=replace(adopt_settings, file_column=None),
    )


def check_lists(lists: Sequence[Path], settings: Ingest, *, recognise: bool = False) -> None:
    """UserError for a list, or a file of a folder of lists, without its columns; nothing is said of missing ones."""
    for path in (file for source in lists for file in _lists_in(source)):
        check_list(path, settings, recognise=recognise)


def sort_out(sources: Sequence[str], settings: Adopt) -> Sorted:
    """Look at each source, without reading more than listings and headers. UserError for one that is no data set."""
    lists: list[Path] = []
    tables: list[Path] = []
    sets: list[str] = []
    parts: list[Part] = []
    for source in sources:
        path = Path(source)
        inside = _lists_in(path)
        shards = [] if path.is_file() and path.suffix != ".tar" else parts_of(location(source), below=not inside)
        named = [file for file in inside if is_table(file, settings.file_column)]
        if shards:
            sets.append(location(source))
            parts += shards
        elif named:
            tables += named
            lists += [file for file in inside if file not in named]
        elif is_url(source):
            raise UserError(f"{public_text(source)}: no data set: no tars there (lists are read from local disks)")
        elif path.is_dir() and not inside:
            raise UserError(
                f"{source}: no data set in this folder; it needs tars, lists or a caption table ({', '.join(SUFFIXES)})"
            )
        else:
            if path.is_file():
                check_format(path)
            lists.append(path)  # or nothing at all, which is told with all other files that are missing
    check(parts)
    return Sorted(lists=tuple(lists), tables=tuple(tables), sets=tuple(sets), parts=tuple(parts))


def folders_of(tables: Sequence[Path], settings: Adopt) -> tuple[tuple[str, str], ...]:
    """The folders that the names in caption tables start from, by the names of the tables' own folders."""
    folders: dict[str, str] = {}
    for table in tables:
        own = table.absolute().parent
        base = str((settings.pictures or own).absolute())
        if folders.setdefault(own.name, base) != base:
            raise UserError(f"{table}: another folder is named {own.name!r} too ({folders[own.name]}); rename one")
    return tuple(folders.items())


def _lists_in(path: Path) -> list[Path]:
    """The files of a list, or of a folder of lists."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    return [file for file in files if suffix_of(file) in SUFFIXES and file.is_file()]
