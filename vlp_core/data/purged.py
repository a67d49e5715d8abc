"""What was purged of a result: some of its files are not what its record says, and all that stands on it stays.

_PURGED.json       of each file that was changed what it is now, and what it was when it was made
_purged.parquet    SEEN: of which links it had pictures, so that it can still be told who saw them
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.data import store
from vlp_core.identity import sha256_of_file

PURGED_FILE, SEEN_FILE = "_PURGED.json", "_purged.parquet"
TAKEN_URL, TAKEN_REASON = "taken-down:", "taken down"
"""What stands in a row in the place of its url, and why it has no picture: no fetcher asks for that scheme."""
TAKEN_MEMBER = "__purged__"
"""The name of tar members of which zeros are left; readers of WebDataset pass over names of this form."""
SEEN = pa.schema([("uid", pa.string()), ("link", pa.string()), ("sha256", pa.string())])
"""`link` is the uid of the url in canonical form: however it is written, it is known by that."""


def purged_files(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Of each file that was changed, by name: `size` and `sha256` as it is now, `made`: its sha256 when it was made,
    `now` and `was`: its stamps."""
    try:
        return dict(json.loads(store.read_bytes(store.joined(str(folder), PURGED_FILE)))["files"])
    except (OSError, ValueError, KeyError):
        return {}


def purged_pictures(folder: Path) -> list[str]:
    """The uids, in order, of the pictures that were purged of a folder of images."""
    if not (folder / SEEN_FILE).exists():
        return []
    seen = pq.read_table(folder / SEEN_FILE, schema=SEEN)
    return sorted(seen["uid"].filter(pc.is_valid(seen["sha256"])).unique().to_pylist())


def sha256_as_made(folder: Path, name: str, changed: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The sha256 that a file of a result had before anything was purged of it."""
    known = purged_files(folder) if changed is None else changed
    return str(known[name]["made"]) if name in known else sha256_of_file(folder / name)


def stamp_as_made(changed: Mapping[str, Mapping[str, Any]], name: str, stamp: str) -> str:
    """A file's stamp before anything was purged of it; as it is where the file was changed since."""
    known = changed.get(name)
    return str(known["was"]) if known is not None and known["now"] == stamp else stamp
