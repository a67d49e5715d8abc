"""What the scores look like: queries with what they found, and how often each class was told from the others."""

import io
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from vlp_core.evals.retrieval import TIE, Scores
from vlp_core.evals.sets import RetrievalSet, ZeroShotSet
from vlp_core.files import write_bytes
from vlp_core.identity import key_of

RIGHT, WRONG, TEXT, MUTED, BARS = "#1a9850", "#d73027", "#222222", "#777777", "#4575b4"
FOUND = 8  # pictures shown of what a query found
MATRIX = 50  # classes that a confusion matrix can show; with more, bars show the weakest


def draw_queries(path: Path, data: RetrievalSet, scores: Scores, *, rows: int) -> None:
    """Texts drawn by a hash of them, each with the pictures found first: framed green where right, red where wrong.

    `scores` are of the set's texts with its pictures.
    """
    chosen = sorted(range(len(data.texts)), key=lambda number: key_of("queries", data.texts[number]))[:rows]
    found = min(FOUND, scores.images)
    right = {text: set(data.pairs[data.pairs[:, 0] == text, 1].tolist()) for text in chosen}
    figure = Figure(figsize=(3.2 + 1.25 * found, 0.5 + 1.4 * len(chosen)), dpi=100)
    figure.subplots_adjust(left=0.015, right=0.99, top=1 - 0.4 / figure.get_figheight(), bottom=0.01, wspace=0.08)
    grid = figure.subplots(len(chosen), found + 1, squeeze=False, width_ratios=[2.4] + [1.0] * found)
    figure.suptitle(
        f"Text to image: the {found} nearest of {scores.images:,} pictures (green: right, red: wrong)",
        fontsize=11, color=TEXT, y=1 - 0.12 / figure.get_figheight(), va="top",
    )  # fmt: skip
    for axes, text in zip(grid, chosen, strict=True):
        _write_query(axes[0], data.texts[text])
        nearest = scores.of_texts(text, text + 1)[0].sort(descending=True, stable=True).indices[:found].tolist()
        for axis, picture in zip(axes[1:], nearest, strict=True):
            _show(axis, data.pictures[picture], RIGHT if picture in right[text] else WRONG)
    write_bytes(path, _png(figure))


def _write_query(axis: Any, text: str) -> None:
    axis.axis("off")
    words = textwrap.fill(textwrap.shorten(_plain(text), 130, placeholder=" …"), 27)
    axis.text(0.0, 0.5, words, fontsize=10, color=TEXT, va="center", ha="left", transform=axis.transAxes)


def _show(axis: Any, body: bytes, colour: str) -> None:
    with Image.open(io.BytesIO(body)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((160, 160))
    axis.imshow(np.asarray(picture))
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=colour, linewidth=3.5)


def draw_classes(path: Path, data: ZeroShotSet, images: Tensor, weights: Tensor) -> None:
    """Which class was taken for which, as a matrix of shares; with many classes, the ones found least often as bars.

    Args:
        images: unit vectors [N, D] of the set's pictures.
        weights: unit vectors [C, D] of the classes.
    """
    classes = len(weights)
    scores = images @ weights.T
    scores[torch.arange(len(images)), data.labels] -= TIE  # as in the scores, ties go against the model
    guessed = scores.argmax(1)
    counts = torch.bincount(data.labels * classes + guessed, minlength=classes**2).view(classes, classes).double()
    totals = counts.sum(1)
    draw = _draw_matrix if classes <= MATRIX else _draw_weakest
    write_bytes(path, _png(draw(data, counts, totals)))


def _draw_matrix(data: ZeroShotSet, counts: Tensor, totals: Tensor) -> Figure:
    classes, names = len(totals), [_short(name) for name in data.classes.names]
    side = max(3.2, 0.2 * classes)
    figure = Figure(figsize=(side + 2.6, side + 1.7), dpi=100, layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow((counts / totals.clamp(min=1)[:, None]).numpy(), cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(classes), names, rotation=90, fontsize=8)
    axis.set_yticks(range(classes), names, fontsize=8)
    axis.set_xlabel("taken for", color=TEXT)
    axis.set_ylabel("is", color=TEXT)
    axis.set_title(_headline(counts, totals), fontsize=10, color=TEXT)
    figure.colorbar(shown, ax=axis, shrink=0.7, label="share of the class's pictures")
    return figure


def _draw_weakest(data: ZeroShotSet, counts: Tensor, totals: Tensor) -> Figure:
    shares = counts.diagonal() / totals.clamp(min=1)
    there = totals.nonzero()[:, 0]
    weakest = there[shares[there].argsort(stable=True)][:MATRIX].tolist()
    figure = Figure(figsize=(7.0, 1.2 + 0.2 * len(weakest)), dpi=100, layout="constrained")
    axis = figure.subplots()
    axis.barh(range(len(weakest)), shares[weakest].numpy(), color=BARS)
    axis.axvline(1 / len(totals), color=MUTED, linestyle=":", label="chance")
    axis.set_yticks(range(len(weakest)), [_short(data.classes.names[number]) for number in weakest], fontsize=8)
    axis.margins(y=0.01)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel(f"top-1 of the {len(weakest)} classes found least often", color=TEXT)
    axis.set_title(_headline(counts, totals), fontsize=10, color=TEXT)
    axis.legend(loc="lower right", fontsize=8)
    return figure


def _headline(counts: Tensor, totals: Tensor) -> str:
    top1 = (counts.diagonal().sum() / totals.sum()).item()
    chance = 1 / len(totals)
    return f"Zero-shot top-1: {top1:.1%} of {int(totals.sum()):,} pictures\n{len(totals)} classes, chance {chance:.1%}"


def _short(name: str) -> str:
    return textwrap.shorten(_plain(name), 28, placeholder=" …")


def _plain(text: str) -> str:
    """Without the dollars that matplotlib would read as mathematics."""
    return text.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():  # a letter that the font lacks is drawn as a box
        warnings.filterwarnings("ignore", message="Glyph")
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()
