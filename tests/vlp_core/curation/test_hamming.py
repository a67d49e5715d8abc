"""The search for near hashes against comparing all with all."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp_core.curation import hamming
from vlp_core.curation.bit_blocks import laid_out
from vlp_core.curation.hamming import Hashes, Rows, between, within
from vlp_core.curation.hamming_walk import TILE

KEYS = 2**20


def spread(seed: int, rows: int, live: int, flips: float) -> Hashes:
    """Hashes of `live` bits that matter, a third of them around few centres; the other bits are rarely set."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, max(1, rows // 50), rows)
    bits = rng.random((rows, 64)) < np.where(rng.permutation(64) < live, 0.5, 0.002)
    near = rng.random((rows, 1)) < 1 / 3
    bits = np.where(near, bits[centres] ^ (rng.random((rows, 64)) < flips), bits)
    return (bits.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def keys(chunks: Iterator[tuple[Rows, Rows]]) -> Rows:
    """Each pair as a number, sorted; a pair that comes twice is there twice."""
    return np.sort(np.concatenate([np.empty(0, np.int64), *(left * KEYS + right for left, right in chunks)]))


def brute(left: Hashes, right: Hashes, bits: int) -> Rows:
    first, second = np.nonzero(np.bitwise_count(left[:, None] ^ right[None]) <= bits)
    return first * KEYS + second


def later(pairs: Rows) -> Rows:
    return pairs[pairs // KEYS < pairs % KEYS]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), rows=st.integers(0, 400), bits=st.integers(0, 31), flips=st.floats(0, 0.4))
def test_each_pair_comes_once(seed: int, rows: int, bits: int, flips: float) -> None:
    hashes = spread(seed, rows, 40, flips)
    cut = rows // 3
    assert np.array_equal(keys(within(hashes, bits)), later(brute(hashes, hashes, bits)))
    assert np.array_equal(keys(between(hashes[:cut], hashes[cut:], bits)), brute(hashes[:cut], hashes[cut:], bits))


@pytest.mark.parametrize(
    ("live", "bits"), [(64, 4), (30, 4), (14, 4), (9, 4), (30, 0), (14, 1), (14, 2), (30, 8), (64, 11)]
)
def test_full_buckets_are_split_and_full_outputs_emptied_without_loss(
    live: int, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashes so close that walks go through blocks within blocks, and no room for what they find."""
    monkeypatch.setattr(hamming, "_ROOM", TILE)
    hashes = np.unique(spread(live, 6000, live, 0.03))
    chunks = list(within(hashes, bits))
    assert all(len(left) <= TILE for left, _ in chunks)
    assert np.array_equal(keys(iter(chunks)), later(brute(hashes, hashes, bits)))
    some = np.unique(spread(live + 1, 300, live, 0.03))
    assert np.array_equal(keys(between(hashes, some, bits)), brute(hashes, some, bits))
    assert np.array_equal(keys(between(some, hashes, bits)), brute(some, hashes, bits))


def test_chunks_are_the_same_with_one_thread_and_two(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.unique(spread(3, 20_000, 24, 0.02))
    first = list(within(hashes, 4))
    monkeypatch.setattr(hamming, "_THREADS", 1)
    second = list(within(hashes, 4))
    assert len(first) > 10
    assert [(a.tolist(), b.tolist()) for a, b in first] == [(a.tolist(), b.tolist()) for a, b in second]


def test_bits_that_go_together_are_laid_into_different_blocks() -> None:
    rng = np.random.default_rng(0)
    half = rng.integers(0, 2**32, 5000, dtype=np.uint64)
    order, widths = laid_out(half | half << np.uint64(32), None, 8)
    assert sorted(order.tolist()) == list(range(64))
    for block in np.split(order, np.cumsum(widths)[:-1]):
        assert len(set((block % 32).tolist())) == len(block)


def test_bits_that_never_vary_are_spread_over_all_blocks() -> None:
    """Else those with many of them would tell nobody apart."""
    hashes = np.random.default_rng(0).integers(0, 2**24, 5000, dtype=np.uint64)
    order, widths = laid_out(hashes, None, 8)
    live = [(block < 24).sum() for block in np.split(order, np.cumsum(widths)[:-1])]
    assert live == [3] * 8
