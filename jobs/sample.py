"""The first links of a list: pairs stand in an order of hashes of their uids, so that these are a random sample."""

from pathlib import Path

import pyarrow.parquet as pq

from vlp_core.data.layout import iterate_shards, shard_name, shard_names
from vlp_core.files import write_table
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False


def run(*, pairs: Path, links: int, out: Path, tracker: Tracker) -> Summary:
    """Write the first so many pairs (or all, where there are fewer) in the shards in which they stand."""
    left = links
    for number, table in enumerate(iterate_shards(pairs)):
        if left <= 0:
            break
        write_table(out / f"{shard_name(number)}.parquet", table.slice(0, left))
        left -= len(table)
    listed = sum(pq.read_metadata(pairs / f"{name}.parquet").num_rows for name in shard_names(pairs))
    taken = min(links, listed)
    tracker.progress(taken, taken, unit="links")
    return Summary(counts={"links": taken, "links/listed": listed})
