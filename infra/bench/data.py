#!/usr/bin/env python
"""How fast pictures are fetched, shrunk and stored, against img2dataset at its fastest local setting.

    infra/bench/data.py --quick
    infra/bench/data.py --real /data/zips       # coco_mini.zip in it is fetched too

The same photos come from a server in another process; the two are run in turn, on the same two cores, and the stage
once more on a private Ray, as pipelines run it, with all that this takes. An image's marginal cost is the CPU time of
the whole process tree at `pictures` less that at `few`, by the difference; images/s is the same by the clock: while at
work, without the start. MB is the most memory, at `few` and at `pictures`. PSNR is that of what the two store.
"""

import math
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from fetchers import SHARD
from photo_server import served
from photos import in_other_colours, photo_sets
from process_tree import Usage, run
from stored import psnr

from vlp_core.data.layout import PAIRS
from vlp_core.identity import uid_of

TOOLS = ("img2dataset", "stage")
ON_RAY = "on_ray"


@dataclass(frozen=True, kw_only=True)
class Bench:
    sizes: tuple[str, ...] = ("640x480", "1280x960", "2560x1920")
    """Sizes of the photos drawn."""
    real: Path | None = Path(os.environ["VLP_REAL_DATA"]) if "VLP_REAL_DATA" in os.environ else None
    """Folder with coco_mini.zip; default: VLP_REAL_DATA of the environment."""
    pictures: int = 3000
    few: int = 500
    """Two shards, so that every process of either has begun."""
    whole: int = 1500
    """Pictures of the run whose time is taken as a whole."""
    repeats: int = 5
    distinct: int = 32
    """Photos drawn; more links lead to them again."""
    quick: bool = False
    """One repeat with fewer pictures, for a first look."""
    folder: Path | None = None
    """Where it is tried; a temporary folder if not given."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One repeat of one tool."""

    few: Usage
    most: Usage
    whole: Usage
    pictures: int

    @property
    def cpu_ms(self) -> float:
        return (self.most.cpu - self.few.cpu) / self.pictures * 1000

    @property
    def rate(self) -> float:
        seconds = self.most.seconds - self.few.seconds
        return self.pictures / seconds if seconds > 0 else math.nan  # where other work came between

    @property
    def memory(self) -> float:
        return self.most.memory / 2**20

    @property
    def memory_of_few(self) -> float:
        return self.few.memory / 2**20


def main(bench: Bench) -> None:
    if bench.quick:
        bench = replace(bench, pictures=bench.whole, repeats=1, distinct=8)
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    try:
        print(
            f"{'photos':<10} {'':<12} {'images/s':>15} {'CPU ms/image':>17} {'MB':>10} {'s at ' + str(bench.whole):>15}"
        )
        for name, bodies in photo_sets(bench.sizes, bench.distinct, bench.real):
            with served(bodies) as port:
                _compare(name, bodies, port, bench, folder)
    finally:
        shutil.rmtree(folder)


def _compare(name: str, bodies: Sequence[bytes], port: int, bench: Bench, folder: Path) -> None:
    rounds: dict[str, list[Round]] = {tool: [] for tool in TOOLS}
    piped: list[Usage] = []
    for _ in range(bench.repeats):
        for tool in TOOLS:
            few, most = (_fetched(tool, count, port, folder) for count in (bench.few, bench.pictures))
            whole = most if bench.whole == bench.pictures else _fetched(tool, bench.whole, port, folder)
            rounds[tool].append(Round(few=few, most=most, whole=whole, pictures=bench.pictures - bench.few))
        piped.append(_fetched(ON_RAY, bench.whole, port, folder))
    for tool in TOOLS:
        print(f"{name:<10} {tool:<12} {_row(rounds[tool])}", flush=True)
    theirs, ours = (rounds[tool] for tool in TOOLS)
    pairs = list(zip(theirs, ours, strict=True))
    quicker = _middle([one.cpu_ms / other.cpu_ms for one, other in pairs], 2)
    faster = _middle([other.rate / one.rate for one, other in pairs], 2)
    memory = statistics.median(other.memory / one.memory for one, other in pairs)
    wholes = _middle([one.whole.seconds / other.whole.seconds for one, other in pairs], 2)
    row = f"{faster:>15} {quicker:>17} {memory:>10.2f} {wholes:>15}"
    print(f"{name:<10} {'ratio':<12} {row}   PSNR {_likeness(bodies, bench.pictures, folder)}", flush=True)
    _tell_of_ray(name, piped, [each.whole for each in theirs])
    for tool in TOOLS:
        shutil.rmtree(folder / f"{tool}-{bench.pictures}")


def _likeness(bodies: Sequence[bytes], pictures: int, folder: Path) -> str:
    """Photos whose profile means other colours than sRGB, which img2dataset does not look at, are counted apart."""
    numbers: dict[bool, list[int]] = {False: [], True: []}
    for number, body in enumerate(bodies):
        numbers[in_other_colours(body)].append(number)
    stored = [folder / f"{tool}-{pictures}" for tool in TOOLS]
    text = psnr(*stored, numbers[False])
    return f"{text}; of {len(numbers[True])} in other colours {psnr(*stored, numbers[True])}" if numbers[True] else text


def _tell_of_ray(name: str, piped: Sequence[Usage], theirs: Sequence[Usage]) -> None:
    memory = statistics.median(each.memory / 2**20 for each in piped)
    ratios = [other.seconds / each.seconds for other, each in zip(theirs, piped, strict=True)]
    seconds = _middle([each.seconds for each in piped], 1)
    print(f"{name:<10} {'on Ray':<12} {'':>15} {'':>17} {memory:>10.0f} {seconds:>15}")
    print(f"{name:<10} {'ratio':<12} {'':>15} {'':>17} {'':>10} {_middle(ratios, 2):>15}", flush=True)


def _row(rounds: Sequence[Round]) -> str:
    rate = _middle([each.rate for each in rounds], 0)
    cpu = _middle([each.cpu_ms for each in rounds], 2)
    of_few = statistics.median(each.memory_of_few for each in rounds)
    of_most = statistics.median(each.memory for each in rounds)
    memory = f"{of_few:.0f}, {of_most:.0f}"
    whole = _middle([each.whole.seconds for each in rounds], 1)
    return f"{rate:>15} {cpu:>17} {memory:>10} {whole:>15}"


def _middle(values: Sequence[float], digits: int) -> str:
    """The median, and the range where there is one."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _fetched(tool: str, count: int, port: int, folder: Path) -> Usage:
    """One run of so many pictures, whose folder stays until the next like it."""
    out, pairs = folder / f"{tool}-{count}", folder / f"pairs-{count}-{port}"
    shutil.rmtree(out, ignore_errors=True)
    if not pairs.exists():
        _write_pairs(pairs, count, port)
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, str(Path(__file__).with_name("fetchers.py")), tool, str(pairs), str(out), str(port)]
    usage = run(command, environment, folder / "log")
    got = sum(pq.read_table(path, columns=["status"])["status"].to_pylist().count("success") for path in _tables(out))
    assert got == count, f"{tool} fetched {got} of {count} pictures:\n{(folder / 'log').read_text()[-3000:]}"
    return usage


def _tables(out: Path) -> list[Path]:
    return [path for path in out.glob("*.parquet") if path.stem.isdigit()]


def _write_pairs(folder: Path, count: int, port: int) -> None:
    folder.mkdir()
    urls = [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(count)]
    for shard, start in enumerate(range(0, count, SHARD)):
        some = urls[start : start + SHARD]
        columns = {
            "uid": [uid_of(url) for url in some],
            "url": some,
            "captions": [[f"photo {url}"] for url in some],
            "source": ["bench"] * len(some),
        }
        pq.write_table(
            pa.table(columns).cast(PAIRS).append_column("caption", pa.array([f"photo {url}" for url in some])),
            folder / f"{shard:05d}.parquet",
        )


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
