#!/usr/bin/env python
"""How long all pairs of near hashes take, how that grows, and whether any is missed.

    infra/bench/near.py --pictures flickr8k.zip coco_mini.zip cifar10.zip noto_emoji.zip --rows 100000 1000000 10000000

Hashes are drawn as skewed as those of the pictures given: each is of a blend of the spectra of two pictures of one zip,
one of them mirrored or not, with a share of Beta(2, 2); a zip gives as large a share as it has pictures. Such blends of
photos lie nearer to one another than photos do, as is printed. Of all rows 30 % are copies of others, in numbers that
follow Zipf's law (some 4 % of them of the most copied one): half of them are equal in hash, the others have
1 + Poisson(1) bits flipped. Each size has its own process.
"""

import multiprocessing
import resource
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from vlp_core.curation import hamming
from vlp_core.curation import hashes as looks

Hashes = NDArray[np.uint64]

_MOST = 4000  # pictures of a zip that are looked at
_CHUNK = 2**18
_COPIES = 0.3
_CHECKED = 200  # hashes that are compared with all others


@dataclass(frozen=True, kw_only=True)
class Bench:
    pictures: tuple[Path, ...] = ()
    """Zips of pictures whose hashes are learnt from; none: noise."""
    rows: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    bits: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """Spectra of pictures: the 8 × 8 lowest DCT-II coefficients of their thumbnails, float32 [P, 64]."""

    weight: int
    spectra: NDArray[np.float32]

    @classmethod
    def noise(cls) -> "Source":
        return cls(1, np.random.default_rng(0).normal(0, 100, (_MOST, 64)).astype(np.float32))

    @classmethod
    def of(cls, path: Path) -> "Source":
        with zipfile.ZipFile(path) as file:
            names = sorted(name for name in file.namelist() if not name.endswith("/"))
            small = [looks.thumbnail(file.read(name)) for name in names[:: -(-len(names) // _MOST)]]
        spectra = np.array([(looks._DCT @ (each @ looks._LUMA) @ looks._DCT.T).ravel() for each in small], np.float32)
        source = cls(len(names), spectra)
        assert np.mean(source.hashes() == [looks.phash(each) for each in small]) > 0.99, "not the product's hash"
        return source

    def hashes(self) -> Hashes:
        return _hashed(self.spectra)

    def draw(self, rows: int, rng: np.random.Generator) -> Hashes:
        one, other = (self.spectra[rng.integers(0, len(self.spectra), rows)] for _ in range(2))
        share = rng.beta(2, 2, (rows, 1)).astype(np.float32)
        mirrored = (rng.random((rows, 1)) < 0.5) & (np.arange(64) % 2 == 1)  # odd horizontal frequencies change sign
        return _hashed(np.sqrt(share) * one + np.sqrt(1 - share) * np.where(mirrored, -other, other))


def _hashed(spectra: NDArray[np.float32]) -> Hashes:
    bits = spectra > np.median(spectra[:, 1:], axis=1, keepdims=True) + looks._MARGIN
    bits[:, 0] = False
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64).ravel()


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


def _distinct(hashes: Hashes) -> Hashes:
    """Sooner than np.unique, which hashes first."""
    ordered = np.sort(hashes)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]


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
    start, worked = time.perf_counter(), time.process_time()
    hashes = _distinct(drawn)
    merged = time.perf_counter()
    sample = np.sort(np.random.default_rng(1).permutation(len(hashes))[:_CHECKED])
    looked_at = np.zeros(len(hashes), bool)
    looked_at[sample] = True
    count, met, checking = 0, [np.empty(0, np.int64)], 0.0
    for left, right in hamming.within(hashes, bench.bits):
        count += len(left)
        begun = time.thread_time()
        of = looked_at[left] | looked_at[right]
        met.append(left[of] * len(hashes) + right[of])
        checking += time.thread_time() - begun
    seconds = time.perf_counter() - start - checking
    worked = time.process_time() - worked - checking
    peak = _peak()
    pairs, missed = _missed(hashes, bench.bits, sample, np.concatenate(met))
    return (
        f"{rows:>11,} {len(hashes):>11,} {count:>13,} {merged - start:>7.2f} {seconds:>7.2f} {worked:>7.2f}"
        f" {seconds / rows * 1e9:>7.0f} {before:>7.2f} {peak:>7.2f}   {missed} of {pairs}"
    )


def main(bench: Bench) -> None:
    sources = [Source.of(path) for path in bench.pictures] or [Source.noise()]
    for path, source in zip(bench.pictures, sources, strict=False):
        _compare(path, source)
    print(f"pairs within {bench.bits} of 64 bits; to merge equal hashes, and in all; memory before and at its peak")
    heads = "rows", "distinct", "pairs", "merge s", "all s", "cpu s", "ns/row", "GiB", "peak"
    widths = 11, 11, 13, *[7] * 6
    print(*(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)), f"  missed of {_CHECKED} hashes'")
    for rows in bench.rows:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(measure, (bench, sources, rows)), flush=True)


def _compare(path: Path, source: Source) -> None:
    """Print how near hashes lie to one another: those of pictures, and those that are drawn like them."""
    rows = len(source.spectra)
    for name, hashes in (("real", source.hashes()), ("drawn", source.draw(rows, np.random.default_rng(0)))):
        distinct = _distinct(hashes)
        at = np.triu_indices(len(distinct), 1)
        apart = np.bincount(np.bitwise_count(distinct[at[0]] ^ distinct[at[1]]), minlength=65).cumsum() / len(at[0])
        print(f"{path.name} {name}: of pairs, within " + ", ".join(f"{k}: {apart[k]:.1e}" for k in (4, 8, 12, 16, 20)))


if __name__ == "__main__":
    main(tyro.cli(Bench))
