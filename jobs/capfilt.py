"""capfilt: the captions, of the web and written, that match their picture well enough become a selection."""

import io
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from jobs.select import SUMMARY_FILE
from vlp_core.curation.bootstrapped import Judged
from vlp_core.curation.selection import selection_digest
from vlp_core.data.layout import CAPTIONED, SELECTION, SELECTION_FILE, read_shards
from vlp_core.data.samples import Samples
from vlp_core.data.stored import read_selection
from vlp_core.errors import UserError
from vlp_core.files import write_bytes, write_table, write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "1"
PICTURE = "capfilt.png"

_KEPT, _DROPPED = "#1a9850", "#d73027"
_EACH, _COLUMNS, _TEXTS, _WIDTH = 3, 2, 5, 66  # pictures of a kind, pictures a line, captions a picture, letters a line


def run(*, images: Path, selection: Path, captions: Path, threshold: float, out: Path, tracker: Tracker) -> Summary:
    """Write selection.parquet (SELECTION by uid), selection.json, and capfilt.png of a few pictures.

    `captions` is what the captions stage wrote for this selection. A picture that loses all of its captions is not in
    the new one; UserError where none is left.
    """
    judged = Judged.read(read_selection(selection, SELECTION.names), read_shards(captions, CAPTIONED.names))
    tracker.progress(0, len(judged.rows), unit="pictures")
    kept = judged.kept(threshold)
    table, counts = judged.selection(kept).cast(SELECTION), judged.counts(kept)
    if not len(table):
        raise UserError(
            f"the selection is empty: no caption of {len(judged.rows)} pictures matches with --capfilt.threshold "
            f"{threshold}; lower it, or train the first model longer (--capfilt.steps)"
        )
    write_table(out / SELECTION_FILE, table)
    dropped = len(judged.rows) - len(table)
    before = json.loads((selection / SUMMARY_FILE).read_text())
    summary: dict[str, Any] = {
        "digest": selection_digest(table),
        "rows": len(table),
        "captions": pc.sum(pc.list_value_length(table["captions"])).as_py(),
        "removed": {**before["removed"], "capfilt": dropped},
        "capfilt": counts,
    }
    write_text(out / SUMMARY_FILE, json.dumps(summary, indent=2, sort_keys=True) + "\n")
    write_bytes(out / PICTURE, _drawn(images, judged, kept))
    tracker.progress(len(judged.rows), len(judged.rows), unit="pictures")
    by_source = {f"{source}/{way}": count for source, ways in counts.items() for way, count in ways.items()}
    return Summary(
        counts={**by_source, "pictures/selected": len(table), "pictures/dropped": dropped},
        pictures={"capfilt": PICTURE},
    )


def _examples(judged: Judged, kept: np.ndarray) -> list[int]:
    """A few rows that lost a caption of the web, a written one, both, and none: the first of each by their uids, which
    are hashes."""
    lost = [
        np.bincount(judged.owner[~kept & made], minlength=len(judged.rows)) > 0
        for made in (~judged.synthetic, judged.synthetic)
    ]
    kinds = ((True, False), (False, True), (True, True), (False, False))
    return [
        row
        for web, synthetic in kinds
        for row in np.flatnonzero((lost[0] == web) & (lost[1] == synthetic))[:_EACH].tolist()
    ]


def _drawn(images: Path, judged: Judged, kept: np.ndarray) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    samples, rows = Samples.open(images), _examples(judged, kept)
    lines = -(-len(rows) // _COLUMNS)
    figure = Figure(figsize=(6.0 * _COLUMNS, 1.6 * lines + 0.4), dpi=100, layout="constrained")
    figure.suptitle("captions that stay (green) and go (red), with the probability that they match", fontsize=10)
    grid = figure.subplots(lines, 2 * _COLUMNS, squeeze=False, width_ratios=[1.5, 4.5] * _COLUMNS)
    for axes in grid.flat:
        axes.axis("off")
    for row, (picture, text) in zip(rows, grid.reshape(-1, 2), strict=False):
        at = pc.index(samples.uids, judged.rows["uid"][row].cast(samples.uids.type)).as_py()
        with Image.open(io.BytesIO(samples.image_bytes(at))) as image:
            picture.imshow(np.asarray(image.convert("RGB")))
        _write_captions(text, judged, kept, row)
    samples.close()
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def _write_captions(axes: Any, judged: Judged, kept: np.ndarray, row: int) -> None:
    height = 1.0
    for caption in np.flatnonzero(judged.owner == row)[-_TEXTS:].tolist():  # the written one is the last
        source = "written" if judged.synthetic[caption] else "web"
        said = judged.captions[caption].as_py().replace("$", r"\$")  # which would begin mathematics
        told = f"{'✓' if kept[caption] else '✗'} {judged.match[caption]:.2f} {source}: {said}"
        wrapped = textwrap.wrap(textwrap.shorten(told, 2 * _WIDTH, placeholder=" …"), _WIDTH, subsequent_indent="    ")
        colour = _KEPT if kept[caption] else _DROPPED
        axes.text(0, height, "\n".join(wrapped), transform=axes.transAxes, va="top", fontsize=8, color=colour)
        height -= 0.1 * len(wrapped) + 0.03
