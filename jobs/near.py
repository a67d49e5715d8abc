"""Which of all fetched pictures are alike, once, whatever rules then leave of them."""

from pathlib import Path

import numpy as np

from jobs.hashed import Hashed
from vlp_core.curation.pairing import alike_among
from vlp_core.curation.settings import Near
from vlp_core.tracker import Summary, Tracker

VERSION = "2"
RESUMABLE = False


def run(*, hashes: Path, near: Near, out: Path, tracker: Tracker) -> Summary:
    """Write what is alike (`vlp_core.curation.copies.Alike`): groups.parquet, pairs.parquet, and pictures.json."""
    seen = Hashed.read(hashes)
    tracker.progress(0, len(seen), unit="pictures")
    alike = alike_among(seen.uids, seen.sha256, seen.looks, seen.area, seen.looks_at, near)
    alike.write(out)
    seen.sign(out)
    tracker.progress(len(seen), len(seen), unit="pictures")
    rows = np.arange(len(seen))
    counts = {
        "pictures": len(seen),
        "copies/exact": int((alike.same != rows).sum()),
        "copies/same_looks": int(((alike.look != rows) & (alike.same == rows)).sum()),
        "pairs/near": len(alike.left),
    }
    return Summary(counts=counts)
