"""Which pictures are copies of one another: by their bytes, then by their looks; one stays and takes the captions."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.hash import hashes_of
from vlp_core.curation.copies import EXACT, NEAR, copies_table, kept_rows, ranks
from vlp_core.curation.near import Rows, looks_of
from vlp_core.curation.settings import Dedup
from vlp_core.data.layout import COPIES, VERDICTS, read_shards, shard_name
from vlp_core.data.samples import Samples
from vlp_core.files import wide, write_bytes, write_table
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
RESUMABLE = False
COPIES_PICTURE = "copies.png"

_GROUPS, _MEMBERS, _COLUMNS = 12, 4, 6  # drawn at most, and how many pictures stand side by side


def run(*, images: Path, hashes: Path, verdicts: Path, dedup: Dedup, out: Path, tracker: Tracker) -> Summary:
    """Write COPIES of the pictures that pass the filter, and a picture of a few groups of copies.

    Of copies the one with the larger original picture stays, of equal ones the earlier in the list.
    """
    judged = wide(read_shards(verdicts, VERDICTS.names))
    passed = judged.filter(pc.is_null(judged["rule"]))
    seen = hashes_of(hashes, passed["uid"], verdicts).combine_chunks()
    order = ranks(seen["width"].to_numpy(), seen["height"].to_numpy())
    tracker.progress(0, len(seen), unit="pictures")
    same = pc.dictionary_encode(seen["sha256"].combine_chunks()).indices.to_numpy()
    kept = kept_rows(same, looks_of(seen), order, dedup.near)
    table = copies_table(
        seen["uid"].combine_chunks(), seen["sha256"].combine_chunks(), passed["captions"].combine_chunks(), kept
    )
    write_table(out / f"{shard_name(0)}.parquet", table.cast(COPIES))
    tracker.progress(len(seen), len(seen), unit="pictures")
    pictures = {}
    if groups := _groups(kept, table["reason"]):
        write_bytes(out / COPIES_PICTURE, _drawn(images, seen["uid"], table["reason"], groups))
        pictures["copies"] = COPIES_PICTURE
    reasons = table["reason"].combine_chunks()
    exact, near = (pc.sum(pc.equal(reasons, reason)).as_py() or 0 for reason in (EXACT, NEAR))
    counts = {"pictures/passed": len(seen), "copies/exact": exact, "copies/near": near}
    return Summary(counts={**counts, "pictures/kept": len(seen) - exact - near}, pictures=pictures)


def _groups(kept: Rows, reasons: pa.ChunkedArray) -> list[list[int]]:
    """The one that stays and its copies, of a few groups: those with near copies first, then the largest."""
    near = pc.fill_null(pc.equal(reasons, NEAR), False).to_numpy()
    size = np.bincount(kept, minlength=len(kept))
    with_near = np.bincount(kept[near], minlength=len(kept))
    stays = np.flatnonzero(size > 1)
    chosen = stays[np.lexsort((-size[stays], -np.minimum(with_near[stays], 1)))][:_GROUPS]
    members = (
        [row, *np.flatnonzero((kept == row) & (np.arange(len(kept)) != row)).tolist()] for row in chosen.tolist()
    )
    return [group[:_MEMBERS] for group in members]


def _drawn(images: Path, uids: pa.ChunkedArray, reasons: pa.ChunkedArray, groups: list[list[int]]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    samples = Samples.open(images)
    lines = _lines(groups)
    figure = Figure(figsize=(1.6 * _COLUMNS, 1.75 * len(lines) + 0.3), dpi=100, layout="constrained")
    figure.suptitle("pictures that stay (blue), each followed by its copies", fontsize=10)
    grid = figure.subplots(len(lines), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, axes_of_line in zip(lines, grid, strict=True):
        for row, axes in zip(line, axes_of_line, strict=False):
            at = pc.index(samples.uids, uids[row].cast(samples.uids.type)).as_py()
            with Image.open(io.BytesIO(samples.image_bytes(at))) as image:
                axes.imshow(np.asarray(image.convert("RGB")))
            reason = reasons[row].as_py()
            axes.set_title(reason or "stays", fontsize=8, color="#666666" if reason else "#1f4e9c", loc="left")
    samples.close()
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def _lines(groups: list[list[int]]) -> list[list[int]]:
    """Groups one after the other, none broken."""
    lines: list[list[int]] = [[]]
    for group in groups:
        if len(lines[-1]) + len(group) > _COLUMNS:
            lines.append([])
        lines[-1] += group
    return lines
