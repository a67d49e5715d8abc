"""Lists of (url, caption) become shards of pairs: one row a url with all its captions, in a seeded order."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from jobs.download_shard import CONDITIONS
from vlp_core.curation.lists import files_of, open_list
from vlp_core.curation.pairs import Merge, Tally, shards
from vlp_core.curation.settings import Ingest
from vlp_core.data.layout import IMAGES, INDEX, PAIRS, shard_name
from vlp_core.errors import UserError
from vlp_core.files import write_table
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False

_MOST_SHARDS = 100_000  # five digits name a shard
_RESERVED = frozenset([*PAIRS.names, *IMAGES.names, *INDEX.names, *CONDITIONS])


def run(
    *,
    sources: tuple[Path, ...] | Path,
    ingest: Ingest,
    out: Path,
    tracker: Tracker,
    recognise: bool = False,
    files: bool = False,
) -> Summary:
    """Read Parquet, csv, tsv and jsonl lists (or folders of them) into `out/00000.parquet`, … of `shard_size` pairs.

    A further column comes along with the first value that the lists have for a url; `source` names the list a url was
    first seen in. With `recognise`, a list that lacks a column which `ingest` names is read as if none were named: for
    evaluation lists, which have other makers. With `files`, they are caption tables (see `open_list`). UserError where
    a list is missing, of no known format, without its columns, unreadable or empty.
    """
    given = (sources,) if isinstance(sources, Path) else tuple(sources)
    lists = [open_list(path, ingest, recognise=recognise, files=files) for path in files_of(given)]
    merge = Merge(lists=lists, seed=ingest.seed, needs_caption=ingest.needs_caption, reserved=_RESERVED)
    scratch = out / "_buckets"
    scratch.mkdir(parents=True)
    written = 0
    try:
        tables = merge.tables(
            scratch, lambda rows: tracker.progress(rows, None, failed=merge.tally.no_url, unit="rows")
        )
        schema = pa.schema([*PAIRS, *merge.further])
        for number, table in enumerate(shards(tables, ingest.shard_size, schema)):
            if number == _MOST_SHARDS:
                raise UserError(f"more than {_MOST_SHARDS:,} shards of {ingest.shard_size} pairs; raise the shard size")
            write_table(out / f"{shard_name(number)}.parquet", table)
            written = number + 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not merge.tally.urls:
        raise _empty(given, merge.tally, ingest)
    tracker.progress(merge.tally.rows, merge.tally.rows, failed=merge.tally.no_url, unit="rows")
    return Summary(
        counts={
            "rows/read": merge.tally.rows,
            "rows/no_url": merge.tally.no_url,
            "rows/no_caption": merge.tally.no_caption,
            "pairs/urls": merge.tally.urls,
            "pairs/captions": merge.tally.captions,
            "pairs/shards": written,
        }
    )


def _empty(sources: Sequence[Path], tally: Tally, ingest: Ingest) -> UserError:
    names = ", ".join(str(source) for source in sources)
    if not tally.rows:
        return UserError(f"{names}: an empty list; it needs rows with a url and a caption")
    why = f"{tally.no_url} have no valid url"
    if ingest.needs_caption:
        why += f" and {tally.no_caption} no caption"
    return UserError(f"{names}: an empty list: of its {tally.rows} rows, {why}; check which columns are read")
