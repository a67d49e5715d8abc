"""The data contracts: which files and columns pass between the stages.

pairs      `{shard}.parquet`            one row a url, with all its captions, in the seeded order
images     img2dataset's layout         `{shard}.tar`, `.parquet`, `_stats.json`, and `_index.parquet` of offsets;
                                        `_ledger/{shard}.parquet`, which is no part of the result
columns    `{shard}.parquet` by uid     verdicts, hashes, scores: one folder a step, beside the pictures
selection  `selection.parquet`          uids with weight and captions: the digest of a data set
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlp_core.errors import UserError

CAPTIONS = pa.list_(pa.string())

PAIRS = pa.schema([("uid", pa.string()), ("url", pa.string()), ("captions", CAPTIONS), ("source", pa.string())])

# What `images` holds at least; img2dataset's own columns first, then ours. A failed row keeps its reason in
# `error_message` and has null sizes, sha256 and format. `bytes` is the size of the body as it came, `format` what it
# was by its bytes (jpeg, png, webp, gif, bmp, tiff): what was fetched is stored as a JPEG, what was adopted as it is.
IMAGES = pa.schema(
    [
        ("key", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),
        ("uid", pa.string()),
        ("captions", CAPTIONS),
        ("source", pa.string()),
        ("bytes", pa.int64()),
        ("format", pa.string()),
        ("http_status", pa.int32()),
        ("final_url", pa.string()),
    ]
)
SUCCESS = "success"
UNCHANGED = "unchanged"  # asked whether it is another one since, and it is not: a row without a picture

# What every link was asked and said. How often and when depends on luck, so that it stands beside the record (`_`) and
# not in it. `attempts` add up and `first_asked` stays from one release to the next; `outcome` is one of OUTCOMES,
# `failure` the class of a reason (vlp_core.web.reasons); `sha256` is that of the body as it came.
LEDGER = pa.schema(
    [
        ("uid", pa.string()),
        ("attempts", pa.int32()),
        ("first_asked", pa.timestamp("ms", tz="UTC")),
        ("last_asked", pa.timestamp("ms", tz="UTC")),
        ("outcome", pa.string()),
        ("failure", pa.string()),
        ("reason", pa.string()),
        ("http_status", pa.int32()),
        ("final_url", pa.string()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("sha256", pa.string()),
    ]
)
LEDGER_FOLDER = "_ledger"
FINAL, MAY_PASS = "final", "may_pass"
OUTCOMES = (SUCCESS, UNCHANGED, FINAL, MAY_PASS)

# Where a picture's encoded bytes lie: in `{shard}.tar` at a byte offset, or row `offset` of `{shard}.images.parquet`.
INDEX = pa.schema(
    [
        ("uid", pa.string()),
        ("sha256", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("captions", CAPTIONS),
    ]
)

VERDICTS = pa.schema([("uid", pa.string()), ("rule", pa.string()), ("captions", CAPTIONS)])
HASHES = pa.schema(
    [
        ("uid", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.uint64()),
        ("colour", pa.binary(192)),
        ("grey", pa.binary(256)),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
# A caption that a model wrote for the picture (null: it wrote none), and the probabilities that it, and each of the
# selection's captions, match the picture.
CAPTIONED = pa.schema(
    [
        ("uid", pa.string()),
        ("synthetic", pa.string()),
        ("synthetic_match", pa.float32()),
        ("web_match", pa.list_(pa.float32())),
    ]
)
# One table for a whole data set, whose text outgrows offsets of 32 bits.
_TEXT, _TEXTS = pa.large_string(), pa.large_list(pa.large_string())
# The pictures that are copies, and the one that stays for each; rows are their places among all that were fetched.
COPIES = pa.schema(
    [("uid", _TEXT), ("kept_uid", _TEXT), ("reason", _TEXT), ("row", pa.int64()), ("kept_row", pa.int64())]
)
SELECTION = pa.schema([("uid", _TEXT), ("weight", pa.float32()), ("captions", _TEXTS), ("sha256", _TEXT)])
SELECTION_FILE = "selection.parquet"
SUMMARY_FILE = "selection.json"  # beside it: its digest, and what was left out of it


def shard_name(number: int) -> str:
    return f"{number:05d}"


def shard_names(folder: Path) -> list[str]:
    """The shards of a folder by their Parquet files, in order."""
    return sorted(path.stem for path in folder.glob("*.parquet") if path.stem.isdigit())


def read_shards(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All shards of a folder of tables as one, in shard order; its columns are in chunks (see `wide` for one array)."""
    names = shard_names(folder)
    if not names:
        raise UserError(f"{folder}: no shards (00000.parquet, …) in this folder; give the output folder of a stage")
    return pa.concat_tables(list(iterate_shards(folder, columns)), promote_options="permissive")


def iterate_shards(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    for name in shard_names(folder):
        path = folder / f"{name}.parquet"
        try:
            with pq.ParquetFile(path) as file:  # half the time of read_table, of which there are thousands
                yield file.read(columns=list(columns) if columns else None)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not a readable Parquet shard ({error}); delete it and run again") from error
