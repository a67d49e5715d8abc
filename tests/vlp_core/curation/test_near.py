"""The near search against comparing all with all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp_core.curation import near as near_module
from vlp_core.curation.near import Looks, between, within
from vlp_core.curation.settings import Near
from vlp_core.errors import UserError


def clustered(seed: int, rows: int, centres: int) -> Looks:
    """Hashes and colours that lie around few centres, so that many pairs lie on either side of any threshold."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, centres, rows)
    flips = rng.random((rows, 64)) < rng.uniform(0, 0.12, (rows, 1))
    bits = (rng.random((centres, 64)) < 0.5)[of] ^ flips
    phash = (bits.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    colour = (
        rng.integers(0, 256, (centres, 192))[of] + rng.integers(-9, 10, (rows, 1)) + rng.integers(-3, 4, (rows, 192))
    )
    return Looks(phash, np.clip(colour, 0, 255).astype(np.uint8))


def brute(left: Looks, right: Looks, near: Near) -> set[tuple[int, int]]:
    pairs = set()
    for i in range(len(left)):
        for j in range(len(right)):
            bits = bin(int(left.phash[i]) ^ int(right.phash[j])).count("1")
            colour = np.abs(left.colour[i].astype(int) - right.colour[j].astype(int)).mean()
            if bits <= near.bits and colour <= near.colour:
                pairs.add((i, j))
    return pairs


def listed(chunks) -> list[tuple[int, int]]:
    return [pair for left, right in chunks for pair in zip(left.tolist(), right.tolist(), strict=True)]


measures = st.builds(
    lambda bits, colour: Near(bits=bits, colour=colour), st.integers(0, 31), st.sampled_from([0.0, 2.0, 8.0, 255.0])
)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), rows=st.integers(0, 60), centres=st.integers(1, 8), near=measures)
def test_within_finds_each_near_pair_once(seed: int, rows: int, centres: int, near: Near) -> None:
    looks = clustered(seed, rows, centres)
    found = listed(within(looks, near))
    assert len(found) == len(set(found))
    assert set(found) == {(i, j) for i, j in brute(looks, looks, near) if i < j}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), rows=st.integers(0, 50), cut=st.floats(0, 1), near=measures)
def test_between_finds_each_near_pair_once(seed: int, rows: int, cut: float, near: Near) -> None:
    both = clustered(seed, rows, 5)
    at = int(cut * rows)
    left, right = both.take(np.arange(at)), both.take(np.arange(at, rows))
    found = listed(between(left, right, near))
    assert len(found) == len(set(found))
    assert set(found) == brute(left, right, near)


@pytest.mark.parametrize("hashes", [80, 4])
def test_large_buckets_are_cut_up_without_loss(hashes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pictures near by hash, or twenty of each of four hashes, and chunks far smaller than their pairs."""
    looks = clustered(7, 80, 1)
    looks = Looks(looks.phash[np.arange(80) % hashes], looks.colour)
    near = Near(bits=20, colour=12)
    monkeypatch.setattr(near_module, "_CHUNK", 50)
    chunks = list(within(looks, near))
    assert max(len(left) for left, _ in chunks) <= 80
    assert set(listed(chunks)) == {(i, j) for i, j in brute(looks, looks, near) if i < j}
    assert set(listed(between(looks, looks, near))) == brute(looks, looks, near)


@pytest.mark.parametrize("wrong", [{"bits": -1}, {"bits": 32}, {"colour": -0.5}])
def test_measures_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Near(**wrong)  # type: ignore[arg-type]
