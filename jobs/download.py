"""download: the pictures of a list, in img2dataset's layout; a link that failed keeps its reason."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Thread

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.download_shard import WORK, Shard, fetch_shard, shard_files
from jobs.shards import ShardTask, map_shards
from vlp_core.data.layout import SUCCESS, shard_names
from vlp_core.errors import UserError, first_line
from vlp_core.tracker import Summary, Tracker
from vlp_core.web.reasons import class_of
from vlp_core.web.settings import Fetch

VERSION = "4"
RESUMABLE = True
EMBEDDED = "*.test"  # the names under which the embedded corpus is served


def run(*, pairs: Path, fetch: Fetch, out: Path, tracker: Tracker, serve: Path | None = None) -> Summary:
    """Fetch the pictures of `pairs` into `out`, a Ray task a shard; shards that are there and whole are kept.

    `serve` is a folder of the embedded corpus, which is then served on loopback for the length of the run.
    Raises UserError when every link failed, or the disk is full.
    """
    names = shard_names(pairs)
    if not names:
        raise UserError(f"{pairs}: no shards of pairs (00000.parquet, …) in this folder; give the output of ingest")
    rows = {name: pq.read_metadata(pairs / f"{name}.parquet").num_rows for name in names}
    if not any(rows.values()):
        raise UserError(f"{pairs}: the list has no rows; nothing to fetch")
    digits = max(4, len(str(max(rows.values()) - 1)))
    shutil.rmtree(out / WORK, ignore_errors=True)
    missing = [name for name in names if not _is_whole(out, name, pairs / f"{name}.parquet", tracker)]
    with _served(fetch, serve) as fetch, _Watch(out, rows, missing, tracker) as watch:
        shards = [
            Shard(name=name, pairs=pairs / f"{name}.parquet", out=out, digits=digits, fetch=fetch) for name in missing
        ]
        if shards:
            task = ShardTask(here=serve is not None)
            for _, name in map_shards(fetch_shard, shards, task=task, window=fetch.window):
                watch.shard_done(name)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return _summary(out, names)


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


@contextmanager
def _served(fetch: Fetch, folder: Path | None) -> Iterator[Fetch]:
    """The settings with which `folder`, where there is one, is fetched while it is served."""
    if folder is None:
        yield fetch
        return
    from vlp_core.miniature.server import serve

    with serve(folder) as address:
        yield replace(fetch, resolve=(*fetch.resolve, f"{EMBEDDED}={address}"))


class _Watch:
    """Tells the tracker how far all shards are: those that are done, and what running tasks last wrote."""

    def __init__(self, out: Path, rows: dict[str, int], missing: list[str], tracker: Tracker) -> None:
        self._out, self._rows, self._tracker = out, rows, tracker
        self._done = self._failed = 0
        self._finished: set[str] = set()
        self._lock, self._stop = Lock(), Event()
        self._thread = Thread(target=self._poll, name="download-progress", daemon=True)
        for name in rows.keys() - set(missing):
            self.shard_done(name)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._report()

    def shard_done(self, name: str) -> None:
        failed = sum(_reasons(self._out / f"{name}.parquet").values())
        with self._lock:
            self._finished.add(name)
            self._done += self._rows[name]
            self._failed += failed

    def _poll(self) -> None:
        while not self._stop.wait(1):
            self._report()

    def _report(self) -> None:
        with self._lock:
            done, failed, finished = self._done, self._failed, set(self._finished)
        for path in (self._out / WORK).glob("*/progress"):
            if path.parent.name.partition("-")[0] not in finished:
                try:
                    row_count, failures = path.read_text().split()
                except OSError:
                    continue  # its shard has just been published
                done, failed = done + int(row_count), failed + int(failures)
        self._tracker.progress(done, sum(self._rows.values()), failed=failed, unit="rows")


def _reasons(parquet: Path) -> Counter[str]:
    """Reasons of the failed rows of a shard, with their counts."""
    table = pq.read_table(parquet, columns=["status", "error_message"])
    failed = table.filter(pc.not_equal(table["status"], SUCCESS))
    return Counter(failed["error_message"].to_pylist())


def _summary(out: Path, names: list[str]) -> Summary:
    reasons: Counter[str] = Counter()
    for name in names:
        reasons += _reasons(out / f"{name}.parquet")
    rows = sum(pq.read_metadata(out / f"{name}.parquet").num_rows for name in names)
    failed = reasons.total()
    if failed == rows:
        # What is there is of no use, and would stand in the way of trying again.
        for name in names:
            for file in reversed(shard_files(name)):
                (out / file).unlink(missing_ok=True)
        listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common(8))
        raise UserError(
            f"every link failed: {listed}; nothing to train on: check the list and the network"
            + ("; --fetch.allow-private HOST:PORT names addresses that may be private" if "refused" in listed else "")
        )
    classes = Counter[str]()
    for reason, count in reasons.items():
        classes[class_of(reason)] += count
    counts = {"rows": rows, "success": rows - failed, "failed": failed}
    pictures = {}
    if reasons:
        _draw(reasons, out / "failures.png")
        pictures["failures"] = "failures.png"
    return Summary(
        counts={**counts, **{f"failed/{name}": classes[name] for name in sorted(classes)}}, pictures=pictures
    )


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
