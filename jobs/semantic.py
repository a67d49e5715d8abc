"""Of pictures that show the same by a model's vectors one stays, of those that nothing else takes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.hashed import check_signed
from jobs.matches import MATCHES_FILE
from vlp_core.curation.copies import Alike, kept_rows
from vlp_core.curation.scores import CLIP, best_of
from vlp_core.data.layout import read_shards, shard_name
from vlp_core.files import write_table
from vlp_core.tracker import Summary, Tracker

VERSION = "2"
RESUMABLE = False

SEMANTIC = pa.schema(
    [("uid", pa.large_string()), ("kept_uid", pa.large_string()), ("row", pa.int64()), ("kept_row", pa.int64())]
)
"""The pictures that go, and the one that stays for each; rows are their places among all that were fetched."""


def run(
    *,
    verdicts: Path,
    copies: Path,
    near: Path,
    matches: tuple[Path, ...],
    neighbours: Path,
    scores: Path,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write SEMANTIC, by the pairs of `neighbours` among the pictures that the rules and dedup left.

    Those that go for their `matches` in other sets, themselves or by a copy, are not left: none goes for one of them.

    As of copies, the one with the larger original picture stays, of equal ones that with the better score, then the
    earlier in the list. Captions are not handed over: the pictures are not the same.
    """
    judged = read_shards(verdicts, ["uid", "rule"])
    uids = judged["uid"]
    for made in (near, neighbours):
        check_signed(made, uids, verdicts)
    passed = pc.is_null(judged["rule"]).to_numpy()
    kept, copied = np.arange(len(passed)), read_shards(copies, ["row", "kept_row"])
    kept[copied["row"].to_numpy()] = copied["kept_row"].to_numpy()
    left = passed & (kept == np.arange(len(passed)))
    for folder in matches:
        check_signed(folder, uids, verdicts)
        found = pq.read_table(folder / MATCHES_FILE, columns=["row"])["row"].to_numpy()
        left[kept[found[passed[found]]]] = False
    tracker.progress(0, int(left.sum()), unit="pictures")
    pairs = read_shards(neighbours, ["left", "right"])
    itself = np.arange(len(left), dtype=np.int32)
    alike = Alike(
        same=itself,
        look=itself,
        area=Alike.read(near).area,
        left=pairs["left"].to_numpy(),
        right=pairs["right"].to_numpy(),
    )
    kept = kept_rows(left, alike, best_of(read_shards(scores, [CLIP])[CLIP]))
    gone = np.flatnonzero(left & (kept != itself))
    names = [uids.take(pa.array(rows)).cast(pa.large_string()) for rows in (gone, kept[gone])]
    write_table(
        out / f"{shard_name(0)}.parquet", pa.table([*names, pa.array(gone), pa.array(kept[gone])], schema=SEMANTIC)
    )
    tracker.progress(int(left.sum()), int(left.sum()), unit="pictures")
    return Summary(counts={"pictures/left": int(left.sum()), "semantic/removed": len(gone)})
