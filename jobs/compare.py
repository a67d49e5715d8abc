"""compare: arms by the scores of what was trained on each: a table, a picture with intervals, and who wins."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.champion import choose_metric
from jobs.evaluate import read_scores
from jobs.same import first_same
from jobs.select import SUMMARY_FILE
from vlp_core.curation.arms import Arm
from vlp_core.curation.trials import (
    Agreement,
    Trials,
    agreement,
    by_score,
    columns,
    distinct,
    half_width,
    leading,
    said_of_winner,
    table,
    winner,
)
from vlp_core.curation.truth import Worth, read_truth, worth
from vlp_core.data.layout import SUCCESS, iterate_shards
from vlp_core.data.stored import read_selection
from vlp_core.files import wide, write_bytes, write_text
from vlp_core.tracker import Summary, Tracker

VERSION = "3"
RESUMABLE = False
COMPARISON = "comparison.json"
TABLE = "comparison.md"
PICTURE = "comparison.png"
UNDECIDED = "undecided"
FINEST = "retrieval/text_to_image_r@10"
"""Seeds move it less than zero-shot top-1: where models have not learnt long it tells selections apart sooner."""


def run(
    *,
    images: Path,
    arms: tuple[Arm, ...],
    selections: tuple[Path, ...],
    trials: tuple[Path, ...],
    seeds: int,
    metric: str | None = None,
    truth: Path | None = None,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write comparison.json, .md and .png, and who won, or that none did, as tags of the run.

    Args:
        selections: one an arm.
        trials: folders with scores.json, `seeds` of them an arm, arm after arm; those of an arm that selects what an
            earlier one does are not read.
        metric: higher is better; without a name FINEST where there is one, else as the registry chooses.
        truth: table of uid, kind and original, where they are known: arms are then ranked by it too.

    Raises:
        UserError: a metric that the scores lack, or a truth of other pictures.
    """
    first = first_same(selections)
    scores = {number: _scores(trials, number, seeds) for number in set(first)}
    metric = choose_metric(metric or (FINEST if FINEST in scores[0][0] else None), scores[0][0])
    known = [None] * len(arms) if truth is None else _worths(images, selections, truth)
    found = [
        Trials(
            arm=arm.name,
            rules=str(arm),
            **_size(selections[number]),
            scores=tuple(of[metric] for of in scores[first[number]]),
            worth=known[number],
            same_as=None if first[number] == number else arms[first[number]].name,
        )
        for number, arm in enumerate(arms)
    ]
    half = half_width(found)
    agreed = agreement(found, half)
    write_text(out / TABLE, _said(found, metric, half, agreed))
    write_text(out / COMPARISON, json.dumps(_as_json(found, metric, half, agreed), indent=2) + "\n")
    write_bytes(out / PICTURE, _drawn(found, metric, half))
    write_text(out / "_TAGS.json", json.dumps(_tags(found, half)) + "\n")
    tracker.table("comparison", columns(found, half))
    counts: dict[str, float] = {"arms": len(found), "arms/distinct": len(distinct(found))}
    counts |= {} if agreed is None else {"kendall_tau": agreed.tau, "pairs": agreed.pairs, "pairs/apart": agreed.apart}
    counts |= {f"best/{metric}": by_score(found)[0].mean}
    counts |= {f"{metric}/{arm.arm}": arm.mean for arm in found}
    counts |= {f"f1/{arm.arm}": arm.worth.f1 for arm in found if arm.worth is not None}
    return Summary(counts=counts, pictures={"comparison": PICTURE})


def _scores(trials: Sequence[Path], arm: int, seeds: int) -> list[dict[str, float]]:
    """Of an arm's trials."""
    return [read_scores(folder) for folder in trials[arm * seeds : (arm + 1) * seeds]]


def _tags(arms: Sequence[Trials], half: float | None) -> dict[str, str]:
    """How the run is found by who won: where none did, by those that lead."""
    best = winner(arms, half)
    if best is None:
        return {"vlp.winner": UNDECIDED, "vlp.leading": ", ".join(arm.arm for arm in leading(arms, half))}
    return {"vlp.winner": best.arm, "vlp.winner_rules": best.rules}


def _size(selection: Path) -> dict[str, int]:
    """How many pictures and captions a selection has."""
    chosen = json.loads((selection / SUMMARY_FILE).read_text())
    return {"pictures": chosen["rows"], "captions": chosen["captions"]}


def _worths(images: Path, selections: Sequence[Path], truth: Path) -> list[Worth]:
    """What each selection is worth by the truth about the pictures that were fetched."""
    rows = pa.concat_tables(
        [
            table.filter(pc.equal(table["status"], SUCCESS)).select(["uid"])
            for table in iterate_shards(images, ["uid", "status"])
        ]
    )
    known = read_truth(truth, wide(rows)["uid"].combine_chunks())
    return [worth(read_selection(selection, ["uid"])["uid"].combine_chunks(), known) for selection in selections]


def _said(arms: Sequence[Trials], metric: str, half: float | None, agreed: Agreement | None) -> str:
    """The table with what it says, as Markdown."""
    lines = [table(arms, metric, half), ""]
    lines += [
        f"{arm.arm} has the same selection as {arm.same_as}: trained once, counted once." for arm in arms if arm.same_as
    ]
    lines += [] if agreed is None else [f"Order by score against order by F1 of what is good: {agreed}"]
    return "\n".join([*lines, said_of_winner(arms, half) + "."]) + "\n"


def _as_json(arms: Sequence[Trials], metric: str, half: float | None, agreed: Agreement | None) -> dict[str, object]:
    best = winner(arms, half)
    return {
        "metric": metric,
        "half_width": half,
        "agreement": None if agreed is None else asdict(agreed),
        "winner": None if best is None else best.arm,
        "leading": [arm.arm for arm in leading(arms, half)],
        "arms": [{**asdict(arm), "mean": arm.mean, "f1": None if arm.worth is None else arm.worth.f1} for arm in arms],
    }


def _drawn(arms: Sequence[Trials], metric: str, half: float | None) -> bytes:
    """Each arm's mean with its interval, and each seed as a dot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ordered, ahead = by_score(arms), leading(arms, half)
    figure = Figure(figsize=(9, 1.5 + 0.5 * len(ordered)), dpi=110, layout="constrained")
    axes = figure.subplots()
    for row, arm in enumerate(ordered):
        colour = "#1f4e9c" if arm in ahead else "#6b7785"
        if arm.same_as is None:
            axes.plot([100 * score for score in arm.scores], [row + 0.18] * len(arm.scores), "o", ms=4, color="#b9c2cc")
            axes.errorbar(100 * arm.mean, row, xerr=100 * (half or 0.0), fmt="o", ms=7, capsize=4, lw=2, color=colour)
        else:
            axes.plot(100 * arm.mean, row, "o", ms=7, mfc="none", color="#6b7785")
    axes.set_yticks(range(len(ordered)), [_labelled(arm) for arm in ordered], fontsize=9)
    axes.set_ylim(len(ordered) - 0.5, -0.5)
    number = len(arms[0].scores)
    seeds = f"mean of {number} seeds with its 95 % interval; dots: seeds"
    axes.set_title(said_of_winner(arms, half).replace("; ", ";\n"), loc="left", fontsize=10)
    axes.set_xlabel(f"{metric}, %: {seeds if half is not None else 'one seed'}", loc="left", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def _labelled(arm: Trials) -> str:
    return f"{arm.arm}\n" + (f"same selection as {arm.same_as}" if arm.same_as else f"{arm.pictures:,} pictures")
