"""The hashes of a whole data set as arrays: what its pictures are called, and what they look like."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.curation.alike import Looks, looks_of
from vlp_core.curation.copies import Rows
from vlp_core.curation.pairing import look_keys
from vlp_core.data.layout import HASHES, iterate_shards, shard_names
from vlp_core.errors import UserError
from vlp_core.files import write_text
from vlp_core.uids import SHA256_DIGITS, Texts, Words, digest_of_texts, names

PICTURES_FILE = "pictures.json"
_LOOKS = [field.name for field in dataclasses.fields(Looks)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Hashed:
    """Pictures by their rows: their places over all shards. Names are uint64 [N, 2] (see `vlp_core.uids`)."""

    folder: Path
    uids: Words
    sha256: Words
    looks: Words
    """Equal where pictures look wholly the same."""
    area: Rows
    digest: str
    """Of the uids in their order."""

    def __len__(self) -> int:
        return len(self.area)

    @staticmethod
    def read(folder: Path) -> "Hashed":
        """Of a folder of HASHES; what they look like is read and not kept, but for a key."""
        parts = list(_parts(folder))
        if not parts:
            raise UserError(f"{folder}: no hashes in this folder; give the output folder of hash")
        uids = pa.chunked_array([chunk for part in parts for chunk in part[0].chunks], pa.string())
        found = Hashed(
            folder=folder,
            uids=names(uids),
            sha256=np.concatenate([part[1] for part in parts]),
            looks=np.concatenate([part[2] for part in parts]),
            area=np.concatenate([part[3] for part in parts]),
            digest=digest_of_texts(uids),
        )
        del uids, parts
        pa.default_memory_pool().release_unused()  # as much again as what was made of it
        return found

    def looks_at(self, rows: Rows) -> Looks:
        """What these pictures, in ascending rows, look like."""
        return next(self.looks_in_parts(rows, len(rows)))

    def looks_in_parts(self, rows: Rows, size: int) -> Iterator[Looks]:
        """What they look like, so many pictures at a time."""
        found, filled, start, done = Looks.empty(min(size, len(rows))), 0, 0, 0
        if not len(rows):
            yield found
        for table in iterate_shards(self.folder, _LOOKS):
            end = int(np.searchsorted(rows, start + len(table)))
            part = looks_of(table.take(rows[done:end] - start))
            start += len(table)
            while done < end:
                more = min(end - done, len(found) - filled)
                left = len(part) - (end - done)
                found.put(filled, part.take(np.arange(left, left + more)))
                filled, done = filled + more, done + more
                if filled == len(found):
                    yield found
                    found, filled = Looks.empty(min(size, len(rows) - done)), 0

    def sign(self, out: Path) -> None:
        """Leave beside what was made of these pictures which they are."""
        write_text(out / PICTURES_FILE, json.dumps({"pictures": len(self), "uids": self.digest}) + "\n")


def _parts(folder: Path) -> Iterator[tuple[pa.ChunkedArray, Words, Words, Rows]]:
    for table in iterate_shards(folder, ["uid", "sha256", "width", "height", *_LOOKS]):
        sizes = (pc.fill_null(table[side], 0).to_numpy().astype(np.int64) for side in ("width", "height"))
        width, height = sizes
        yield table["uid"], names(table["sha256"], SHA256_DIGITS), look_keys(looks_of(table)), width * height


def check_signed(made: Path, uids: Texts, source: Path) -> None:
    """UserError where `made` was made of other pictures than those of `source`, whose uids these are."""
    check_pictures(made, len(uids), digest_of_texts(uids), source)


def check_pictures(made: Path, count: int, digest: str, source: Path) -> None:
    """As `check_signed`, where the digest of the uids is known."""
    signed = json.loads((made / PICTURES_FILE).read_text())
    if signed != {"pictures": count, "uids": digest}:
        raise other_pictures(made, source)


def other_pictures(made: Path, source: Path) -> UserError:
    return UserError(f"{made}: of other pictures than {source}; make it of the images that those were made from")


def hash_folders(path: Path) -> list[Path]:
    """The folders of hashes that a path names: itself, or those in the root of other runs.

    UserError where there are none.
    """
    steps = [record.parent for record in sorted(path.glob("hash/*/_RECORD.json"))]
    folders = [folder for folder in steps or [path] if _is_hashed(folder)]
    if not folders:
        raise UserError(
            f"--dedup.against {path}: no hashes of pictures in it, or those of an earlier version; give the output "
            "folder of a hash step, or the root of runs that has some"
        )
    return folders


def _is_hashed(folder: Path) -> bool:
    shards = shard_names(folder)
    try:
        return bool(shards) and set(HASHES.names) <= set(pq.read_schema(folder / f"{shards[0]}.parquet").names)
    except (OSError, pa.ArrowException):
        return False
