"""Which of the pictures that pass the filter are copies of one another; one of them stays."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.hashed import check_signed
from vlp_core.curation.copies import EXACT, NEAR, Alike, Floats, groups_to_show, kept_rows
from vlp_core.curation.scores import CLIP, best_of
from vlp_core.data.index import Reader
from vlp_core.data.layout import COPIES, iterate_shards, read_shards, shard_name, shard_names
from vlp_core.data.stored import index_shard
from vlp_core.files import write_bytes, write_table
from vlp_core.tracker import Summary, Tracker

VERSION = "2"
RESUMABLE = False
COPIES_PICTURE = "copies.png"

_GROUPS, _MEMBERS, _COLUMNS = 12, 4, 6  # drawn at most, and how many pictures stand side by side


def run(
    *,
    images: Path,
    near: Path,
    verdicts: Path,
    scores: tuple[Path, ...],
    out: Path,
    tracker: Tracker,
    draw: bool = True,
) -> Summary:
    """Write COPIES of the pictures that pass the filter, and, to `draw`, a picture of a few groups of copies.

    `near` is what is alike among all fetched pictures. Of copies the one with the larger original picture stays, of
    equal ones that with the better score, where there are `scores`, then the earlier in the list.
    """
    judged = read_shards(verdicts, ["uid", "rule"])
    check_signed(near, judged["uid"], verdicts)
    passed = pc.is_null(judged["rule"]).to_numpy()
    tracker.progress(0, int(passed.sum()), unit="pictures")
    alike = Alike.read(near)
    kept = kept_rows(passed, alike, _best_scores(scores, len(passed)))
    rows = np.arange(len(kept))
    copies = np.flatnonzero((kept >= 0) & (kept != rows))
    exact = alike.same[copies] == alike.same[kept[copies]]
    uids = judged["uid"]
    reasons = pa.array(np.where(exact, EXACT, NEAR), pa.large_string())
    names = [uids.take(pa.array(of)).cast(pa.large_string()) for of in (copies, kept[copies])]
    places = [pa.array(copies), pa.array(kept[copies])]
    write_table(out / f"{shard_name(0)}.parquet", pa.table([*names, reasons, *places], schema=COPIES))
    tracker.progress(int(passed.sum()), int(passed.sum()), unit="pictures")
    pictures = {}
    near_copy = np.zeros(len(kept), dtype=bool)
    near_copy[copies[~exact]] = True
    if draw and (groups := groups_to_show(kept, near_copy, _GROUPS, _MEMBERS)):
        write_bytes(out / COPIES_PICTURE, _drawn(images, verdicts, uids, alike, groups))
        pictures["copies"] = COPIES_PICTURE
    counts = {
        "pictures/passed": int(passed.sum()),
        "copies/exact": int(exact.sum()),
        "copies/near": int((~exact).sum()),
        "pictures/kept": int(passed.sum()) - len(copies),
    }
    return Summary(counts=counts, pictures=pictures)


def _best_scores(scores: Sequence[Path], count: int) -> Floats:
    """[N]: the best score of each fetched picture's captions; nan where it has none."""
    best = [best_of(table[CLIP]) for folder in scores for table in iterate_shards(folder, [CLIP])]
    return np.concatenate(best) if best else np.full(count, np.nan, np.float32)


def _drawn(images: Path, verdicts: Path, uids: pa.ChunkedArray, alike: Alike, groups: list[Sequence[int]]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    read = _Pictures(images, verdicts)
    lines = _lines(groups)
    figure = Figure(figsize=(1.6 * _COLUMNS, 1.75 * len(lines) + 0.3), dpi=100, layout="constrained")
    figure.suptitle("pictures that stay (blue), each followed by its copies", fontsize=10)
    grid = figure.subplots(len(lines), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, axes_of_line in zip(lines, grid, strict=True):
        for (row, stays), axes in zip(line, axes_of_line, strict=False):
            with suppress(Exception), Image.open(io.BytesIO(read(row, uids[row]))) as image:  # PIL raises whatever
                axes.imshow(np.asarray(image.convert("RGB")))
            said = "stays" if row == stays else EXACT if alike.same[row] == alike.same[stays] else NEAR
            axes.set_title(said, fontsize=8, color="#1f4e9c" if row == stays else "#666666", loc="left")
    read.close()
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


class _Pictures:
    """A few pictures by row, without the index of all."""

    def __init__(self, images: Path, verdicts: Path) -> None:
        self._images, self._reader = images, Reader()
        self._names = shard_names(verdicts)
        counts = [pq.read_metadata(verdicts / f"{name}.parquet").num_rows for name in self._names]
        self._starts = [0, *accumulate(counts)]

    def __call__(self, row: int, uid: pa.Scalar) -> bytes:
        file, index = index_shard(self._images, self._names[bisect_right(self._starts, row) - 1])
        at = pc.index(index["uid"], uid).as_py()
        return self._reader.read(file, index["offset"][at].as_py(), index["length"][at].as_py())

    def close(self) -> None:
        self._reader.close()


def _lines(groups: list[Sequence[int]]) -> list[list[tuple[int, int]]]:
    """Groups one after the other, none broken: each row with the one that stays for it."""
    lines: list[list[tuple[int, int]]] = [[]]
    for group in groups:
        if len(lines[-1]) + len(group) > _COLUMNS:
            lines.append([])
        lines[-1] += [(row, group[0]) for row in group]
    return lines
