"""What a data set that is there consists of: tars, or what else img2dataset and this pipeline write, as listed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from braceexpand import braceexpand

from vlp_core.data.adopted import PLACES, is_place
from vlp_core.data.foreign import NEEDED
from vlp_core.data.purged import PURGED_FILE, purged_files, stamp_as_made
from vlp_core.data.store import Entry, entries, entry, is_url, joined, open_binary, parted
from vlp_core.errors import UserError, first_line, public_text
from vlp_core.identity import digest_of

INSIDE = ("image", "jpg", "jpeg", "png", "webp")
"""Columns of Parquet files that hold pictures."""
_MOST = 100_000  # five digits name a shard
_ASKED_AT_ONCE = 16
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

Found = Mapping[str, Entry]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A shard of a data set, by path or url."""

    name: str
    """What it is called wherever the set lies, such as `train/00000`."""
    pictures: str
    """A tar, a Parquet file, a folder of pictures, or a file that says where they lie (`vlp_core.data.adopted`)."""
    size: int
    """Bytes of that file; -1 for a folder."""
    rows: str | None
    """The Parquet file with its rows; None for a tar by itself."""
    index: str | None
    """INDEX, where this pipeline wrote the shard."""
    stamp: str
    """What changes when any of these does."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it only says where its pictures lie."""
        return is_place(Path(self.pictures))


def parts_of(source: str, *, below: bool = True) -> list[Part]:
    """The shards of a folder, of a tar, or of a pattern such as `…/{00000..00012}.tar`; none where it is no data set.

    With `below`, a folder may have them in folders of its own. UserError for a url or a pattern that leads nowhere.
    """
    if "{" in source and (is_url(source) or entry(source) is None):
        return _of_tars(source, _expanded(source))
    if source.endswith(".tar"):
        return _of_tars(source, [source])
    found = _listed(source)
    if found is None:
        if is_url(source):
            raise UserError(f"{public_text(source)}: nothing is there, or it may not be listed; check the url")
        return []
    name = parted(source)[1]
    here = _of_folder(source, name, found)
    if here or not below:
        return here
    inside = [child for child, item in found.items() if item.is_folder]
    several = (_of_folder(joined(source, child), f"{name}/{child}", _listed(joined(source, child))) for child in inside)
    return [part for parts in several for part in parts]


def digest(parts: Sequence[Part]) -> str:
    """Of what was listed: another one where a file was added, taken away or changed."""
    return digest_of([[part.name, part.stamp] for part in parts])


def check(parts: Sequence[Part]) -> None:
    """UserError where two shards have one name, by which pictures without a url are known, or there are too many."""
    known: dict[str, str] = {}
    for part in parts:
        if part.name in known:
            raise UserError(
                f"{public_text(part.pictures)}: called {part.name}, as is {public_text(known[part.name])}; "
                "give a source once, and rename one of two folders of one name"
            )
        known[part.name] = part.pictures
    if len(parts) > _MOST:
        raise UserError(f"{len(parts):,} shards: a data set may have {_MOST:,}; give fewer, larger ones")


def _expanded(pattern: str) -> list[str]:
    shown = public_text(pattern)
    try:
        tars = list(islice(braceexpand(pattern), _MOST + 1))
    except ValueError as error:
        raise UserError(f"{shown}: {first_line(error)}; write it as …/{{00000..00012}}.tar") from error
    if len(tars) > _MOST:
        raise UserError(f"{shown}: it names more than {_MOST:,} tars; give fewer")
    if not all(tar.endswith(".tar") for tar in tars):
        raise UserError(f"{shown}: a pattern names tars; write it as …/{{00000..00012}}.tar")
    return tars


def _of_tars(source: str, tars: Sequence[str]) -> list[Part]:
    folders: dict[str, list[str]] = {}
    for tar in tars:
        folder, name = parted(tar)
        folders.setdefault(folder, []).append(name)
    parts = []
    for folder, names in folders.items():
        found = _asked(folder, names) if is_url(folder) and folder.startswith("http") else _listed(folder) or {}
        missing = [name for name in names if name not in found]
        if missing:
            of = (
                f"; {len(missing)} of {len(tars)} that {public_text(source)} names are missing" if len(tars) > 1 else ""
            )
            raise UserError(f"{public_text(joined(folder, missing[0]))}: no such tar{of}")
        called = parted(folder)[1]
        parts += [_part(folder, f"{called}/{name[:-4]}", found[name], name[:-4], found) for name in names]
    return parts


def _asked(folder: str, names: Sequence[str]) -> Found:
    """Servers list no folders: each tar is asked for, and the Parquet file beside it."""
    wanted = [joined(folder, item) for name in names for item in (name, f"{name[:-4]}.parquet")]
    try:
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
            return {item.name: item for item in threads.map(entry, wanted) if item is not None}
    except OSError as error:
        raise UserError(f"{public_text(folder)}: cannot be reached ({first_line(error)}); check the url") from error


def _listed(folder: str) -> Found | None:
    try:
        return entries(folder)
    except OSError as error:
        raise UserError(
            f"{public_text(folder)}: cannot be listed ({first_line(error)}); check it and its rights"
        ) from error


def _of_folder(folder: str, name: str, found: Found | None) -> list[Part]:
    found = found or {}
    tars = [item for item in found if item.endswith(".tar")]
    if tars:
        return [_part(folder, f"{name}/{tar[:-4]}", found[tar], tar[:-4], found) for tar in tars]
    packed = next((item for item in found if item.endswith(_PACKED)), None)
    if packed is not None:
        raise UserError(
            f"{public_text(joined(folder, packed))}: compressed, so no picture is found by offset; unpack it"
        )
    stems = [stem for item in found if item.endswith(".parquet") and (stem := item[:-8]).isdigit()]
    if not stems or not _has_rows(joined(folder, f"{stems[0]}.parquet")):
        return []
    places = _listed(joined(folder, PLACES)) or {}
    return [_beside(folder, name, stem, found, places) for stem in stems]


def _beside(folder: str, name: str, stem: str, found: Found, places: Found) -> Part:
    """A shard whose pictures are not in a tar: said to lie elsewhere, in a Parquet file, or in a folder."""
    for item in (f"{stem}.json", f"{stem}.parquet"):
        if item in places:
            return _part(folder, f"{name}/{stem}", places[item], stem, found, within=f"{PLACES}/")
    for item in (f"{stem}.images.parquet", stem, f"{stem}.parquet"):
        if item in found:
            return _part(folder, f"{name}/{stem}", found[item], stem, found)
    raise AssertionError(stem)


def _part(folder: str, name: str, pictures: Entry, stem: str, found: Found, *, within: str = "") -> Part:
    rows, index = found.get(f"{stem}.parquet"), found.get(f"{stem}_index.parquet")
    purged = purged_files(folder) if PURGED_FILE in found else {}
    files = (item for item in (pictures, rows, index) if item is not None)
    stamps = [stamp_as_made(purged, item.name, f"{item.size}:{item.stamp}") for item in files]
    return Part(
        name=name,
        pictures=joined(folder, f"{within}{pictures.name}"),
        size=pictures.size,
        rows=joined(folder, rows.name) if rows else None,
        index=joined(folder, index.name) if index else None,
        stamp=" ".join(stamps),
    )


def _has_rows(table: str) -> bool:
    """Whether a Parquet file is a shard's, and not a list of links."""
    try:
        with open_binary(table) as file:
            return set(pq.read_schema(file).names) >= NEEDED
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{public_text(table)}: not a readable Parquet file ({first_line(error)})") from error
