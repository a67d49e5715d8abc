"""Which fetched pictures another set has too, by their bytes or their looks: an evaluation set, or another release."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.hashed import Hashed
from vlp_core.curation.alike import between
from vlp_core.curation.copies import EXACT, NEAR, Rows
from vlp_core.curation.settings import Near
from vlp_core.data.layout import read_shards
from vlp_core.errors import UserError
from vlp_core.files import write_table
from vlp_core.tracker import Summary, Tracker
from vlp_core.uids import find, firsts

VERSION = "1"
RESUMABLE = False
MATCHES_FILE = "matches.parquet"
_AT_ONCE, _MOST_AT_ONCE = 2**20, 2**22  # pictures that are held: no fewer than the others, which are walked each time
MATCHES = pa.schema(
    [("row", pa.int64()), ("against", pa.string()), ("other_uid", pa.string()), ("reason", pa.string())]
)


def run(*, hashes: Path, others: Path, name: str, near: Near, out: Path, tracker: Tracker) -> Summary:
    """Write MATCHES of the fetched pictures that the set `others` has (both folders of hashes), and pictures.json.

    A picture is named with the first of the others that has its bytes, or else with the first that is near to it;
    `name` is what the set is called. UserError where both are the same pictures: none would be left.
    """
    seen, watched = Hashed.read(hashes), Hashed.read(others)
    if len(seen) and seen.digest == watched.digest:
        raise UserError(f"{name}: has the very pictures of this run, all of which would go; leave it out")
    tracker.progress(0, len(seen), unit="pictures")
    exact = find(seen.sha256, watched.sha256)
    found = np.where(exact >= 0, exact, _near(seen, watched, near))
    rows = np.flatnonzero(found >= 0)
    uids = read_shards(others, ["uid"])["uid"].take(pa.array(found[rows]))
    reasons = np.where(exact[rows] >= 0, EXACT, NEAR)
    columns = [
        pa.array(rows),
        pa.array([name] * len(rows), pa.string()),
        uids.cast(pa.string()),
        pa.array(reasons, pa.string()),
    ]
    write_table(out / MATCHES_FILE, pa.table(columns, schema=MATCHES))
    seen.sign(out)
    tracker.progress(len(seen), len(seen), unit="pictures")
    same = int((exact >= 0).sum())
    return Summary(counts={"pictures/exact": same, "pictures/near": len(rows) - same})


def _near(seen: Hashed, watched: Hashed, near: Near) -> Rows:
    """[N]: the first of the others that is near to each picture, -1 where none is."""
    first = firsts(seen.looks)
    distinct = np.flatnonzero(first == np.arange(len(first)))
    found = np.full(len(distinct), len(watched), np.int64)
    others = watched.looks_at(np.arange(len(watched)))
    done = 0
    for looks in seen.looks_in_parts(distinct, min(max(len(watched), _AT_ONCE), _MOST_AT_ONCE)):
        for mine, theirs in between(looks, others, near):
            np.minimum.at(found, done + mine, theirs)
        done += len(looks)
    found[found == len(watched)] = -1
    return found[np.searchsorted(distinct, first)]
