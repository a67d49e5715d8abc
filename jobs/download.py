"""download: the pictures of a list, in img2dataset's layout; a link that failed keeps its reason."""

import errno
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.download_shard import WORK, Shard, shard_files
from jobs.fetch_crew import fetch_shards
from jobs.fetch_worker import News
from jobs.journal import JOURNAL
from vlp_core.data.layout import SUCCESS, UNCHANGED, shard_names
from vlp_core.data.takedowns import Live
from vlp_core.errors import UserError, first_line
from vlp_core.files import full_disk, no_space
from vlp_core.tracker import Summary, Tracker
from vlp_core.web.reasons import class_of, may_pass
from vlp_core.web.settings import Fetch

VERSION = "5"
RESUMABLE = True
EMBEDDED = "*.test"  # the names under which the embedded corpus is served
_OWN = 64  # requests at once to a host of one's own


def run(
    *,
    pairs: Path,
    fetch: Fetch,
    out: Path,
    tracker: Tracker,
    serve: Path | None = None,
    refresh: bool = False,
    live: Live | None = None,
) -> Summary:
    """Fetch the pictures of `pairs` into `out`; what earlier attempts have, shards or single links, is kept.

    `serve` is a folder of the embedded corpus, which is then served on loopback for the length of the run. A list that
    is a `refresh` of another may be empty, and may give no picture. What is taken down while it is fetched is not asked
    for any more, nor stored.
    Raises UserError when every link failed, the disk is full, or too many files are open.
    """
    names = shard_names(pairs)
    rows = {name: pq.read_metadata(pairs / f"{name}.parquet").num_rows for name in names}
    if not names and not refresh:
        raise UserError(f"{pairs}: no shards of pairs (00000.parquet, …) in this folder; give the output of ingest")
    if not any(rows.values()) and not refresh:
        raise UserError(f"{pairs}: the list has no rows; nothing to fetch")
    digits = max(4, len(str(max(rows.values(), default=1) - 1)))
    missing = [name for name in names if not _is_whole(out, name, pairs / f"{name}.parquet", tracker)]
    shards = [Shard(name=name, pairs=pairs / f"{name}.parquet", out=out, digits=digits) for name in missing]
    if shards:
        progress = _Progress(out, rows, missing, tracker)
        with _served(fetch, serve) as fetch:
            try:
                wanted = sum(rows[name] for name in missing)
                here, down = serve is not None, None if live is None else live.takedowns
                fetch_shards(shards, fetch, rows=wanted, here=here, listen=progress.listen, takedowns=down)
            except OSError as error:
                if full_disk(error):
                    raise UserError(no_space(out)) from error
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    raise UserError(
                        f"{out}: too many files are open; allow more (ulimit -n) and start again (what came is kept)"
                    ) from error
                raise
    shutil.rmtree(out / WORK, ignore_errors=True)
    return _summary(out, rows, tracker, refresh)


def _is_whole(out: Path, name: str, pairs: Path, tracker: Tracker) -> bool:
    """Whether a shard is there with all it says it has; a damaged one is named and removed."""
    from vlp_core.data.index import index_rows

    if not (out / f"{name}.parquet").exists():
        return False
    try:
        table = pq.read_table(out / f"{name}.parquet", columns=["key", "uid", "status", "sha256", "captions"])
        wanted = pq.read_table(pairs, columns=["uid"])
        damage = None if table["uid"].equals(wanted["uid"]) else "its rows are not those of the list"
        index = pq.read_table(out / f"{name}_index.parquet")
        if damage is None and not index.equals(index_rows(out / f"{name}.tar", table)):
            damage = "its index does not fit its tar"
        (out / f"{name}_stats.json").stat()
    except (UserError, OSError, pa.ArrowException) as error:
        damage = first_line(error)
    if damage is None:
        return True
    tracker.warn(f"{out / name}.parquet: the shard is damaged ({damage}); fetching it again")
    for file in reversed(shard_files(name)):
        (out / file).unlink(missing_ok=True)
    return False


def has_answers(out: Path, *, refresh: bool) -> bool:
    """Whether there are answers in `out` that are of use: any of a `refresh`, else pictures, or part of a shard's."""
    names = shard_names(out)
    if any(path.stat().st_size for path in out.glob(f"{WORK}/*/{JOURNAL}")) or (refresh and names):
        return True
    tables = (pq.read_table(out / f"{name}.parquet", columns=["status"]) for name in names)
    return any(pc.any(pc.equal(table["status"], SUCCESS)).as_py() for table in tables)


@contextmanager
def _served(fetch: Fetch, folder: Path | None) -> Iterator[Fetch]:
    """The settings with which `folder`, where there is one, is fetched while it is served."""
    if folder is None:
        yield fetch
        return
    from vlp_core.miniature.server import serve

    with serve(folder) as address:
        own = (*fetch.resolve, f"{EMBEDDED}={address}")
        yield replace(fetch, resolve=own, per_host_rate=0.0, per_host=max(fetch.per_host, _OWN))


class _Progress:
    """Tells the tracker how far all shards are: those that were whole, and what workers last said of the others."""

    def __init__(self, out: Path, rows: dict[str, int], missing: list[str], tracker: Tracker) -> None:
        self._total, self._tracker = sum(rows.values()), tracker
        whole = rows.keys() - set(missing)
        self._counts: News = {name: (rows[name], _reasons(out / f"{name}.parquet").total()) for name in whole}

    def listen(self, news: News) -> None:
        self._counts |= news
        done, failed = (sum(count[at] for count in self._counts.values()) for at in (0, 1))
        self._tracker.progress(done, self._total, failed=failed, unit="rows")


def _reasons(parquet: Path) -> Counter[str]:
    """Reasons of the failed rows of a shard, with their counts."""
    table = pq.read_table(parquet, columns=["status", "error_message"])
    failed = table.filter(pc.invert(pc.is_in(table["status"], pa.array([SUCCESS, UNCHANGED]))))
    return Counter(failed["error_message"].to_pylist())


def _unchanged(parquet: Path) -> int:
    return pc.sum(pc.equal(pq.read_table(parquet, columns=["status"])["status"], UNCHANGED)).as_py() or 0


def _summary(out: Path, rows: dict[str, int], tracker: Tracker, refresh: bool) -> Summary:
    reasons: Counter[str] = Counter()
    for name in rows:
        reasons += _reasons(out / f"{name}.parquet")
    total, failed = sum(rows.values()), reasons.total()
    tracker.progress(total, total, failed=failed, unit="rows")
    if failed == total and not refresh:
        _forget(out, list(rows))
        listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(8))
        private = "; --fetch.allow-private HOST:PORT names addresses that may be private"
        final = "; what has answered for good is asked again only with --force download"
        raise UserError(
            f"every link failed: {listed}; nothing to train on: check the list and the network"
            + (private if "refused address" in listed else "")
            + (final if shard_names(out) else "")
        )
    classes = Counter[str]()
    for reason, count in reasons.items():
        classes[class_of(reason)] += count
    unchanged = sum(_unchanged(out / f"{name}.parquet") for name in rows) if refresh else 0
    counts = {"rows": total, "success": total - failed - unchanged, "failed": failed}
    if refresh:
        counts["unchanged"] = unchanged
    pictures = {}
    if reasons:
        _draw(reasons, out / "failures.png")
        pictures["failures"] = "failures.png"
    return Summary(
        counts={**counts, **{f"failed/{name}": classes[name] for name in sorted(classes)}}, pictures=pictures
    )


def _forget(out: Path, names: Sequence[str]) -> None:
    """Remove the shards without a picture that may have some in another run; what is final stays, and is not asked."""
    for name in names:
        if any(may_pass(reason) or class_of(reason) == "refused" for reason in _reasons(out / f"{name}.parquet")):
            for file in reversed(shard_files(name)):
                (out / file).unlink(missing_ok=True)


def _draw(reasons: Counter[str], path: Path) -> None:
    """A bar for each of the commonest reasons."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:20][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh([reason for reason, _ in shown], [count for _, count in shown], color="#b5523b")
    axes.bar_label(bars, padding=3)
    axes.set_xlabel("links")
    axes.set_title(f"why {sum(reasons.values()):,} links failed")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
