"""A selection that is too small for one batch, with a weight by which its pictures fill one: for timing alone."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from vlp_core.data.layout import SELECTION, SELECTION_FILE
from vlp_core.data.stored import read_selection
from vlp_core.files import write_table
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False


def run(*, selection: Path, least: int, out: Path, tracker: Tracker) -> Summary:
    """Write the selection (SELECTION) so that an epoch of it has `least` samples or more."""
    chosen = read_selection(selection, SELECTION.names)
    times = max(1, -(-least // len(chosen)))
    weight = pa.array(np.full(len(chosen), times, np.float32))
    write_table(out / SELECTION_FILE, chosen.set_column(SELECTION.get_field_index("weight"), "weight", weight))
    tracker.progress(len(chosen), len(chosen), unit="pictures")
    return Summary(counts={"pictures": len(chosen), "times": times})
