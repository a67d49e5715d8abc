"""One result without what is purged, and a record that still fits: all at once, or after a kill as far as it was.

New files wait in `_purging/` until all are there; then they take the old ones' names. What depends on the result stays
as it is: it goes by what the result was made as.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs import capfilt, dedup
from jobs.hashed import PICTURES_FILE
from jobs.held import read_columns
from jobs.purge_journals import Answers, journals_in
from jobs.purge_pages import blank_drawing, purge_page
from jobs.purge_tables import Doomed, among, names_any, purge_alike, purge_table, uids_in
from jobs.purge_tars import check_tar, purge_tar
from jobs.purged_shards import purge_manifest
from jobs.release_card import purged_card
from jobs.taken import is_of_images
from pipelines.purge_plan import Purge, Share, read_places
from pipelines.workflow.record import CorruptRecordError, Record, bad_files
from vlp_core.data.layout import SELECTION_FILE, shard_names
from vlp_core.data.purged import PURGED_FILE, SEEN, SEEN_FILE, purged_files, stamp_as_made
from vlp_core.data.releases import CARD_FILE
from vlp_core.data.stored import MANIFEST_FILE
from vlp_core.data.takedowns import TAKEDOWNS_FILE, Takedowns
from vlp_core.data.tar import TarError
from vlp_core.errors import UserError, first_line
from vlp_core.evals.names import QUERIES
from vlp_core.files import write_bytes, write_table, write_text
from vlp_core.identity import canonical_json, sha256_of_file

STAGING, READY = "_purging", "_READY.json"
GRIDS = (dedup.COPIES_PICTURE, capfilt.PICTURE, QUERIES)
_GROUPS, _PAIRS = "groups.parquet", "pairs.parquet"


@dataclass(frozen=True, kw_only=True)
class PurgeResult:
    """The purge of one result of a root."""

    root: Path
    purge: Purge
    share: Share

    @property
    def folder(self) -> Path:
        return self.root / self.share.folder

    @property
    def _staging(self) -> Path:
        return self.folder / STAGING

    def run(self) -> list[str]:
        """Do it, or what is left of it; the names of the files that changed. UserError where a file is unreadable."""
        if not self.folder.exists():
            return []
        done = _done(self.folder)
        if self.purge.id not in done:
            if not (self._staging / READY).exists():
                self._stage()
            self._finish()
            done = _done(self.folder)
        shutil.rmtree(self._staging, ignore_errors=True)
        return list(done.get(self.purge.id, []))

    def _stage(self) -> None:
        """Make all new files, beside the old ones."""
        shutil.rmtree(self._staging, ignore_errors=True)
        uids = self.purge.uids(self.root, self.share.sets)
        places = read_places(self.root, self.share)
        doomed = Doomed(
            own=uids,
            others=self.purge.uids(self.root, self.share.others),
            listed=self.purge.uids(self.root, (self.purge.listed,)),
            every=self.purge.uids(self.root, (self.purge.every,)),
            bodies=pc.unique(self.purge.seen(self.root, (self.purge.every,))["sha256"]),
            rows=places if places is not None and len(places) else None,
        )
        try:
            staged = [*self._tables(doomed), *self._pages(doomed)]
            keys = dict(self._keys(uids))
            journals = [path for path in journals_in(self.folder) if self._answers.are_in(path)]
            bad = bad_files(self.folder, record, whole=False) if (record := _record(self.folder)) else []
            if staged and (seen := self._seen(uids)) is not None:
                write_table(self._staging / SEEN_FILE, seen)
                staged += self._card(seen)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{self.folder}: cannot be purged ({first_line(error)}); mend it, or remove it") from error
        changed = [*staged, *keys, *(path.relative_to(self.folder).as_posix() for path in journals)]
        if changed and (self.folder / MANIFEST_FILE).exists():
            changed.append(MANIFEST_FILE)
        known = purged_files(self.folder)
        was = {name: stamp_as_made(known, name, _stamp(self.folder / name)) for name in changed}
        told = {"changed": changed, "keys": keys, "bad": bad, "was": was}
        write_text(self._staging / READY, canonical_json(told) + "\n")

    def _tables(self, doomed: Doomed) -> Iterator[str]:
        alike = [self.folder / name for name in (_GROUPS, _PAIRS)]
        if doomed.rows is not None and alike[0].exists():
            purge_alike(alike[0], alike[1], doomed.rows, (self._staging / _GROUPS, self._staging / _PAIRS))
            yield from (_GROUPS, _PAIRS)
        for path in sorted(self.folder.rglob("*.parquet")):
            name = path.relative_to(self.folder).as_posix()
            ours = path not in alike and not name.startswith(STAGING) and name != SEEN_FILE
            if ours and purge_table(path, doomed, self._staging / name):
                yield name
        if doomed.rows is not None and (self.folder / PICTURES_FILE).exists():
            write_text(self._staging / PICTURES_FILE, json.dumps(dict(self.share.signed or {})) + "\n")
            yield PICTURES_FILE

    def _pages(self, doomed: Doomed) -> Iterator[str]:
        """Reports without what they show of these, for they do not say of which set a picture is; drawings whole, where
        something is in them."""
        known = frozenset([*doomed.own.to_pylist(), *doomed.others.to_pylist()])
        for path in sorted(self.folder.glob("*.html")):
            html = path.read_text()
            if (purged := purge_page(html, known)) != html:
                write_text(self._staging / path.name, purged)
                yield path.name
        drawn = [name for name in GRIDS if (self.folder / name).exists()]
        if drawn and (self.share.drawn or any(names_any(path, doomed.own) for path in self.folder.glob("*.parquet"))):
            for name in drawn:
                write_bytes(self._staging / name, blank_drawing())
                yield name

    def _keys(self, uids: pa.Array) -> Iterator[tuple[str, list[str]]]:
        """The keys of doomed pictures in each tar of its own, which can be read to its end."""
        if is_of_images(self.folder):
            for name in shard_names(self.folder):
                if (self.folder / f"{name}.tar").exists():
                    rows = read_columns(self.folder / f"{name}.parquet", ["key", "uid"])
                    keys = rows["key"].filter(pc.is_in(rows["uid"], value_set=uids))
                    if len(keys):
                        with _damage_told(self.folder / f"{name}.tar"):
                            check_tar(self.folder / f"{name}.tar")
                        yield f"{name}.tar", keys.to_pylist()

    @cached_property
    def _answers(self) -> Answers:
        """What goes from journals."""
        listed = self.purge.uids(self.root, (self.purge.listed,)).to_pylist()
        return Answers(uids=frozenset(listed), down=Takedowns.read(self.root / TAKEDOWNS_FILE))

    def _seen(self, uids: pa.Array) -> pa.Table | None:
        """SEEN of all that was ever purged of images, or of a selection; None for anything else."""
        had, selection = self.purge.seen(self.root, self.share.sets), self.folder / SELECTION_FILE
        if selection.exists():
            chosen = [column.filter(among(column, uids)) for column in uids_in(selection)]
            named = pa.chunked_array([chunk for column in chosen for chunk in column.chunks], pa.large_string())
            had = had.filter(among(had["uid"], pc.unique(named).cast(pa.string())))
        elif not is_of_images(self.folder):
            return None
        path = self.folder / SEEN_FILE
        before = pq.read_table(path, schema=SEEN) if path.exists() else SEEN.empty_table()
        return pa.concat_tables([before, had]).group_by(SEEN.names).aggregate([]).select(SEEN.names)

    def _card(self, seen: pa.Table) -> Iterator[str]:
        """The data card of a release, where pictures of it are gone."""
        card, gone = self.folder / CARD_FILE, pc.count_distinct(seen["uid"]).as_py()
        if card.exists() and gone:
            write_text(self._staging / CARD_FILE, purged_card(card.read_text(), gone))
            yield CARD_FILE

    def _finish(self) -> None:
        """Give the new files their names, and zero the pictures. Done again after a kill, it comes to the same."""
        said: dict[str, Any] = json.loads((self._staging / READY).read_text())
        for name in (*said["changed"], SEEN_FILE):
            if (self._staging / name).exists():
                (self._staging / name).replace(self.folder / name)
        for name, keys in said["keys"].items():
            with suppress(FileNotFoundError), _damage_told(self.folder / name):  # damaged since, it may be removed
                purge_tar(self.folder / name, frozenset(keys))
        for journal in journals_in(self.folder):
            self._answers.purge(journal)
        if MANIFEST_FILE in said["changed"]:
            purge_manifest(self.folder)
        self._sign(said)

    def _sign(self, said: dict[str, Any]) -> None:
        """Write down what the files of the record are now; damaged ones stay known to be."""
        record, files = _record(self.folder), purged_files(self.folder)
        for name in said["changed"]:
            path = self.folder / name
            if record is not None and name in record.files and name not in said["bad"] and path.exists():
                files[name] = {
                    "size": path.stat().st_size,
                    "sha256": sha256_of_file(path),
                    "made": record.files[name]["sha256"],
                    "now": _stamp(path),
                    "was": said["was"][name],
                }
        told = {"files": files, "purges": {**_done(self.folder), self.purge.id: said["changed"]}}
        write_text(self.folder / PURGED_FILE, canonical_json(told) + "\n")


@contextmanager
def _damage_told(tar: Path) -> Iterator[None]:
    """In the block a tar that is no whole one is a UserError: until it is mended no pipeline starts that could."""
    try:
        yield
    except TarError as error:
        raise UserError(
            f"{tar}: truncated or not a tar ({error}); put a whole copy back, or remove it, and purge again"
        ) from error


def _stamp(path: Path) -> str:
    """As `vlp_core.data.store.Entry` has it."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _record(folder: Path) -> Record | None:
    try:
        return Record.read(folder)
    except CorruptRecordError as error:
        raise UserError(f"{folder}: {error}; start the pipeline that made it, or remove it") from error


def _done(folder: Path) -> dict[str, list[str]]:
    """The purges that were done there, with the files that each changed."""
    try:
        return dict(json.loads((folder / PURGED_FILE).read_text())["purges"])
    except (OSError, ValueError, KeyError):
        return {}
