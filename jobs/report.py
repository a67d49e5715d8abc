"""One page about a data set: what was lost to what, with pictures, and what other thresholds would do."""

from dataclasses import dataclass, replace
from pathlib import Path

from jobs.same import same_as
from vlp_core.files import write_text
from vlp_core.report.settings import Report
from vlp_core.settings import execution
from vlp_core.tracker import Summary, Tracker

VERSION = "4"
RESUMABLE = False
PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Against:
    """Another data set, known by its tables: its pictures are too many to read for that."""

    folder: Path = execution()
    seal: str


def against_of(report: Report) -> Against | None:
    """What the drift is told from; UserError where that is no data set."""
    if report.against is None:
        return None
    from jobs.report_against import seal_of

    return Against(folder=report.against, seal=seal_of(report.against))


def run(
    *,
    images: Path,
    columns: tuple[Path, ...],
    verdicts: Path,
    copies: Path,
    selection: Path,
    evaluations: tuple[Path, ...] = (),
    names: tuple[str, ...] = (),
    report: Report,
    semantic: Path | None = None,
    same: Path | None = None,
    against: Against | None = None,
    truth: Path | None = None,
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write report.html: one file that needs no other.

    Args:
        columns: folders of what judges found (see `jobs.measure`).
        evaluations: images of the evaluation sets, to show which of theirs were found.
        names: what these are called.
        semantic: what went since other pictures show the same.
        same: which other arm selects the same (see `jobs.same`).
        against: tells the drift from it.
        truth: table of uid, kind and original, where they are known.
    """
    from jobs.report_against import source_at
    from jobs.report_page import Made
    from jobs.report_sources import Source, sample_of

    source = Source(images=images, columns=columns, verdicts=verdicts, copies=copies, selection=selection)
    tracker.progress(0, 3, unit="parts")
    sample = sample_of(source, report.rows)
    tracker.progress(1, 3, unit="parts")
    made = Made(
        source=source,
        semantic=semantic,
        evaluations=evaluations,
        names=names,
        sample=sample,
        examples=report.examples,
    )
    page = made.page(None if against is None else source_at(against.folder), report.rows, truth)
    if same is not None and (name := same_as(same)) is not None:
        page = replace(page, basis=f"The same selection as that of {name}, by other rules. {page.basis}")
    tracker.progress(2, 3, unit="parts")
    write_text(out / PAGE, page.html())
    tracker.progress(3, 3, unit="parts")
    counts: dict[str, float] = {"pictures/looked_at": len(sample), "pictures/shown": len(page.pictures)}
    if page.truth:
        counts |= {"rows/known": page.truth.known, "rows/listed": page.truth.listed}
    for score in page.truth.scores if page.truth else ():
        rates = {"precision": score.precision, "recall": score.recall}
        counts |= {f"{name}/{score.name}": rate for name, rate in rates.items() if rate is not None}
    return Summary(counts=counts, pictures={"report": PAGE})
