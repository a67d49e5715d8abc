#!/usr/bin/env python
"""How long lists take to become a selection, at what memory, and how that grows; no pictures (see `synthetic_rows`).

    infra/bench/curate.py --folder /tmp/curate --rows 100000 1000000 10000000

Each stage runs in a process of its own: seconds, the peak of its process, and of the largest of Ray's beside it. Those
that a changed threshold runs again (marked *) are timed at the second threshold.
"""

import multiprocessing
import resource
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from synthetic_rows import SHARD, vocabulary, write_rows

from vlp_core.curation.settings import Filter, Ingest, Near, Select
from vlp_core.tracker import Silent

RULES = ("side>=200", "ratio<=3", "words>2", "chars>5")
FIRST, SECOND = "clip>=top60%", "clip>=top50%"
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Bench:
    folder: Path
    rows: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    evaluation: int = 10_000
    """Pictures of the evaluation set."""
    keep: bool = False
    """Leave the rows where they are."""
    only: tuple[str, ...] = ()
    """These stages, of rows that are there; none: all."""


def stages(root: Path) -> dict[str, tuple[Callable[..., Any], Mapping[str, Any]]]:
    """Name -> what is run, and its inputs."""
    from jobs import dedup, filter, ingest, matches, measure, near, select, shard
    from vlp_core.data.settings import Shard

    images, hashes, scores = (root / name for name in ("images", "hashes", "scores"))
    columns = (root / "measure", scores)
    verdicts, copies = root / "filter", root / "dedup"
    judged = {"images": images, "columns": columns}
    chosen = {"verdicts": verdicts, "copies": copies, "hashes": hashes, "evaluations": (root / "matches",)}
    entries = root / "entries.txt"
    return {
        "ingest": (ingest.run, {"sources": (root / "list",), "ingest": Ingest(shard_size=SHARD)}),
        "measure": (measure.run, {"images": images, "judges": measure.versions(["picture", "text"])}),
        "near": (near.run, {"hashes": hashes, "near": Near()}),
        "matches": (
            matches.run,
            {"hashes": hashes, "others": root / "evaluation" / "hashes", "name": "eval", "near": Near()},
        ),
        "filter": (filter.run, {**judged, "filter": Filter(rules=(*RULES, FIRST))}),
        "filter *": (filter.run, {**judged, "filter": Filter(rules=(*RULES, SECOND))}),
        "dedup *": (
            dedup.run,
            {"images": images, "near": root / "near", "verdicts": verdicts, "scores": (scores,)},
        ),
        "select *": (select.run, {**chosen, "select": Select()}),
        "shard *": (shard.run, {"images": images, "selection": root / "select", "shard": Shard(sparse_below=0.1)}),
        "open *": (opened, {"images": images, "selection": root / "select"}),
        "balance": (select.run, {**chosen, "select": Select(balance=entries, balance_t=2000)}),
    }  # fmt: skip


def opened(*, images: Path, selection: Path, **_: Any) -> Any:
    """What a training does before it reads its first picture."""
    from vlp_core.data.order import Order
    from vlp_core.data.samples import Samples
    from vlp_core.tracker import Summary

    samples = Samples.open(images, selection)
    Order(samples.uids, samples.weights, seed=0, block=256, window=16).span(0, 4096)
    return Summary(counts={"samples": len(samples), "digest": int(samples.digest[:8], 16)})


def run_stage(root: Path, name: str) -> tuple[float, float, float, float, dict[str, float]]:
    """Seconds, those of this process's CPUs, MiB of it and of the largest of Ray's workers, and counts."""
    function, inputs = stages(root)[name]
    out = root / name.removesuffix(" *")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with Workers() as workers:
        if name.split()[0] in ("measure", "filter"):
            workers.start()
        start, before = time.perf_counter(), time.process_time()
        summary = function(**inputs, out=out, tracker=Silent())
        seconds, cpu = time.perf_counter() - start, time.process_time() - before
    return (
        seconds,
        cpu,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        workers.most / MIB,
        dict(summary.counts),
    )


class Workers:
    """A Ray of two CPUs, and the most memory that one of its workers had."""

    def __init__(self) -> None:
        self.most = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        import ray

        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", object_store_memory=2**28)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        import psutil

        while not self._stop.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        self.most = max(self.most, process.memory_info().rss)
                except psutil.Error:
                    continue

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            import ray

            self._stop.set()
            self._thread.join()
            ray.shutdown()


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """In a process of its own: its peak is its own too."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main(bench: Bench) -> None:
    print(
        f"{'rows':>11} {'stage':10} {'s':>8} {'cpu s':>8} {'ns/row':>8} {'MiB':>7} {'workers':>8}  counts", flush=True
    )
    for rows in bench.rows:
        root = bench.folder / str(rows)
        if not (root / "images").exists():
            apart(write_rows, root, rows)
            apart(write_rows, root / "evaluation", bench.evaluation)
            (root / "entries.txt").write_text("\n".join(vocabulary().to_pylist()[:5000]))
        again = 0.0
        for name in bench.only or stages(root):
            seconds, cpu, own, workers, counts = apart(run_stage, root, name)
            again += seconds if name.endswith("*") else 0
            said = ", ".join(f"{key} {value:,.0f}" for key, value in counts.items() if not key.startswith("threshold"))
            timed = f"{seconds:8.1f} {cpu:8.1f} {1e9 * seconds / rows:8.0f}"
            print(f"{rows:11,} {name:10} {timed} {own:7.0f} {workers:8.0f}  {said[:150]}", flush=True)
        print(f"{rows:11,} from a changed threshold to the first picture: {again:.1f} s", flush=True)
        if not bench.keep:
            shutil.rmtree(root)


if __name__ == "__main__":
    main(tyro.cli(Bench))
