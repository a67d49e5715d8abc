"""truth: whether a truth is one of this list, told before any picture is fetched, hashed or scored."""

import json
from pathlib import Path

import pyarrow.compute as pc

from vlp_core.curation.truth import read_truth
from vlp_core.data.layout import read_shards
from vlp_core.files import wide, write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False
KNOWN_FILE = "known.json"


def run(*, rows: Path, truth: Path, out: Path, tracker: Tracker) -> Summary:
    """Write known.json: how many of the `rows` (pairs or images) the truth knows.

    UserError where it knows none; a warning where it does not know all.
    """
    listed = pc.unique(wide(read_shards(rows, ["uid"]))["uid"])
    known = pc.count_distinct(read_truth(truth, listed)["uid"]).as_py()
    if known < len(listed):
        tracker.warn(
            f"the truth knows {known:,} of {len(listed):,} rows: what it says of this list is said of these alone"
        )
    counts = {"rows/known": known, "rows/listed": len(listed)}
    write_text(out / KNOWN_FILE, json.dumps(counts) + "\n")
    return Summary(counts=counts)
