#!/usr/bin/env python
"""How long all pairs of near hashes take, how that grows, and whether any is missed.

    infra/bench/near.py --pictures flickr8k.zip coco_mini.zip cifar10.zip noto_emoji.zip --rows 100000 1000000 10000000

Hashes are drawn as skewed as those of the pictures given: bits are signs of correlated Gaussians with the frequency of
each bit and the correlation of each two as the hashes of a zip's pictures have them; each zip gives as large a share as
it has pictures. Of all rows 30 % are copies of others, in numbers that follow Zipf's law (some 4 % of them of the most
copied one): half of them are equal in hash, the others have 1 + Poisson(1) bits flipped. Each size has its own process.
"""

import multiprocessing
import resource
import time
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import tyro
from numpy.typing import NDArray

from vlp_core.curation import hamming
from vlp_core.curation.hashes import phash, thumbnail

Hashes = NDArray[np.uint64]

_MOST = 4000  # pictures of a zip that are looked at
_CHUNK = 2**20
_COPIES = 0.3
_CHECKED = 200  # hashes that are compared with all others


@dataclass(frozen=True, kw_only=True)
class Bench:
    pictures: tuple[Path, ...] = ()
    """Zips of pictures whose hashes are learnt from; none: bits are fair coins."""
    rows: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    bits: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """Gaussians whose signs are bits: z = g @ mix [64, 64], bit = z > least [64]."""

    weight: int
    mix: NDArray[np.float32]
    least: NDArray[np.float32]

    @classmethod
    def fair(cls) -> "Source":
        return cls(1, np.eye(64, dtype=np.float32), np.zeros(64, np.float32))

    @classmethod
    def learnt(cls, path: Path) -> "Source":
        bits = _bits(_hashes_in(path))
        share = bits.mean(axis=0).clip(1e-4, 1 - 1e-4)
        deviation = np.maximum(bits.std(axis=0), 1e-6)
        normal = (bits - bits.mean(axis=0)) / deviation
        latent = np.sin(np.pi / 2 * (normal.T @ normal / len(bits)))  # exact where bits are fair
        np.fill_diagonal(latent, 1)
        values, vectors = np.linalg.eigh(latent)
        mix = (vectors * np.sqrt(np.maximum(values, 1e-3))).T
        mix /= np.linalg.norm(mix, axis=0)
        least = np.array([NormalDist().inv_cdf(1 - each) for each in share])
        least[bits.mean(axis=0) == 0] = np.inf
        with zipfile.ZipFile(path) as file:
            return cls(len(file.namelist()), mix.astype(np.float32), least.astype(np.float32))

    def draw(self, rows: int, rng: np.random.Generator) -> Hashes:
        drawn = rng.standard_normal((rows, 64), np.float32) @ self.mix > self.least
        return np.packbits(drawn, axis=1, bitorder="little").view(np.uint64).ravel()


@lru_cache
def _hashes_in(path: Path) -> Hashes:
    with zipfile.ZipFile(path) as file:
        names = sorted(file.namelist())
        names = names[:: -(-len(names) // _MOST)]
        return np.array([phash(thumbnail(file.read(name))) for name in names if not name.endswith("/")], np.uint64)


def _bits(hashes: Hashes) -> NDArray[np.bool_]:
    return (hashes[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(bool)


def _drawn(sources: list[Source], rows: int, seed: int) -> Hashes:
    """Hashes of pictures that are no copies, then of copies of those."""
    rng = np.random.default_rng(seed)
    hashes = np.empty(rows, np.uint64)
    own = rows - int(_COPIES * rows)
    shares = np.cumsum([0, *(source.weight for source in sources)]) / sum(source.weight for source in sources)
    for source, low, high in zip(sources, shares, shares[1:], strict=False):
        for start in range(round(low * own), round(high * own), _CHUNK):
            end = min(start + _CHUNK, round(high * own))
            hashes[start:end] = source.draw(end - start, rng)
    of = rng.permutation(own)[np.exp(rng.random(rows - own) * np.log(own)).astype(np.int64) - 1]
    hashes[own:] = hashes[of]
    flips = np.where(rng.random(rows - own) < 0.5, 0, 1 + rng.poisson(1, rows - own))
    for turn in range(int(flips.max(initial=0))):
        hashes[own:][flips > turn] ^= np.uint64(1) << rng.integers(0, 64, int((flips > turn).sum()), dtype=np.uint64)
    return hashes


def _missed(hashes: Hashes, bits: int, sample: NDArray[np.int64], met: NDArray[np.int64]) -> tuple[int, int]:
    """How many pairs of some hashes with all there are, and how many of them are not among those met."""
    pairs = []
    for row in sample.tolist():
        near = np.flatnonzero(np.bitwise_count(hashes ^ hashes[row]) <= bits)
        near = near[near != row]
        pairs.append(np.minimum(near, row) * len(hashes) + np.maximum(near, row))
    true = np.unique(np.concatenate(pairs))
    return len(true), len(np.setdiff1d(true, met))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(bench: Bench, sources: list[Source], rows: int) -> str:
    """One line of the table."""
    for _ in hamming.within(np.arange(3000, dtype=np.uint64), bench.bits):
        pass  # the machine's code is read, or made at the first time
    drawn = _drawn(sources, rows, bench.seed)
    before = _peak()
    start = time.perf_counter()
    hashes = np.unique(drawn)
    merged = time.perf_counter()
    sample = np.sort(np.random.default_rng(1).permutation(len(hashes))[:_CHECKED])
    looked_at = np.zeros(len(hashes), bool)
    looked_at[sample] = True
    count, met, checking = 0, [np.empty(0, np.int64)], 0.0
    for left, right in hamming.within(hashes, bench.bits):
        count += len(left)
        begun = time.perf_counter()
        of = looked_at[left] | looked_at[right]
        met.append(left[of] * len(hashes) + right[of])
        checking += time.perf_counter() - begun
    seconds = time.perf_counter() - start - checking
    peak = _peak()
    pairs, missed = _missed(hashes, bench.bits, sample, np.concatenate(met))
    return (
        f"{rows:>11,} {len(hashes):>11,} {count:>13,} {merged - start:>7.2f} {seconds:>7.2f}"
        f" {seconds / rows * 1e9:>7.0f} {before:>7.2f} {peak:>7.2f}   {missed} of {pairs}"
    )


def main(bench: Bench) -> None:
    sources = [Source.learnt(path) for path in bench.pictures] or [Source.fair()]
    for path, source in zip(bench.pictures, sources, strict=False):
        _compare(path, source)
    print(f"pairs within {bench.bits} of 64 bits; to merge equal hashes, and in all; memory before and at its peak")
    heads = "rows", "distinct", "pairs", "merge s", "all s", "ns/row", "GiB", "peak"
    widths = 11, 11, 13, 7, 7, 7, 7, 7
    print(*(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)), f"  missed of {_CHECKED} hashes'")
    for rows in bench.rows:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(measure, (bench, sources, rows)), flush=True)


def _compare(path: Path, source: Source) -> None:
    """Print how near hashes lie to one another: those of pictures, and those that are drawn like them."""
    real = np.unique(_hashes_in(path))
    for name, hashes in (("real", real), ("drawn", np.unique(source.draw(len(real), np.random.default_rng(0))))):
        at = np.triu_indices(len(hashes), 1)
        apart = np.bincount(np.bitwise_count(hashes[at[0]] ^ hashes[at[1]]), minlength=65).cumsum() / len(at[0])
        print(f"{path.name} {name}: of pairs, within " + ", ".join(f"{k}: {apart[k]:.1e}" for k in (4, 8, 12, 16, 20)))


if __name__ == "__main__":
    main(tyro.cli(Bench))
