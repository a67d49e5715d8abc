"""Stars of copies: who stays, who goes, and where the captions end up."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp_core.curation import crowds
from vlp_core.curation.alike import Looks
from vlp_core.curation.copies import Alike, handed_over, kept_rows, stars
from vlp_core.curation.pairing import alike_among, look_keys, same_pictures
from vlp_core.curation.settings import Near

HASH_AND_COLOUR = {"colour": 8.0, "alike": 1.0}


def looking(hashes: np.ndarray, shades: np.ndarray) -> Looks:
    colour = np.repeat(shades.astype(np.uint8)[:, None], 192, axis=1)
    return Looks(hashes.astype(np.uint64), colour, np.zeros((len(hashes), 256), np.uint8))


def alike(looks: Looks, same: np.ndarray, area: np.ndarray, near: Near) -> Alike:
    names = np.stack([same, same], axis=1).astype(np.uint64)
    uids = np.stack([np.arange(len(same))] * 2, axis=1).astype(np.uint64)
    return alike_among(uids, names, look_keys(looks), area, looks.take, near)


def test_a_chain_is_not_merged() -> None:
    """0 is near 1, 1 near 2, but 0 not near 2: 2 stays, for what claims 1 does not reach it."""
    assert stars(3, np.array([0, 1]), np.array([1, 2])).tolist() == [0, 0, 2]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 60), bits=st.integers(0, 12), share=st.sampled_from([0.5, 1.0]))
def test_as_going_down_the_ranks_one_by_one(seed: int, rows: int, bits: int, share: float) -> None:
    """Against the rule as it is stated, with equal bytes, equal looks, sizes and scores among the rows, and some that
    did not pass."""
    rng = np.random.default_rng(seed)
    some = rng.integers(0, rows, rows)  # some look exactly alike
    hashes = np.where(rng.random(rows) < 0.5, 0, rng.integers(0, 2**16, rows))[some]
    shades = rng.integers(0, 20, rows)[some]
    same = np.unique(some * 3 + np.arange(rows) % 3, return_inverse=True)[1]  # equal bytes look alike
    area, score = rng.integers(1, 4, rows), rng.choice([0.1, 0.2, np.nan], rows).astype(np.float32)
    passed = rng.random(rows) < share

    expected = np.full(rows, -1)
    worth = np.where(np.isnan(score), -1, score)
    for row in sorted(np.flatnonzero(passed), key=lambda row: (-area[row], -worth[row], row)):
        if expected[row] < 0:
            for other in np.flatnonzero(passed & (expected < 0)):
                near = (int(hashes[row]) ^ int(hashes[other])).bit_count() <= bits
                if same[other] == same[row] or (near and abs(shades[row] - shades[other]) <= 8):
                    expected[other] = row
    found = alike(looking(hashes, shades), same, area, Near(bits=bits, **HASH_AND_COLOUR))
    assert kept_rows(passed, found, score).tolist() == expected.tolist()


def test_a_url_that_stands_twice_joins_what_has_the_bytes_of_either_answer() -> None:
    uids = np.array([[1, 1], [2, 2], [1, 1], [3, 3], [4, 4]], np.uint64)
    sha256 = np.array([[5, 5], [6, 6], [6, 6], [7, 7], [5, 5]], np.uint64)
    assert same_pictures(uids, sha256).tolist() == [0, 0, 0, 3, 0]


def test_a_crowd_is_taken_together_where_its_pairs_are_too_many_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the crowd but for one is near to its middle; what is not near to it keeps its own pairs."""
    rows = 3000
    bits = np.uint64(1) << (np.arange(rows) % 64).astype(np.uint64)
    bits[::10] = np.random.default_rng(0).integers(0, 2**64, rows // 10, dtype=np.uint64)
    bits[20] = bits[10] ^ np.uint64(1)
    looks = looking(bits, np.arange(rows) % 5)
    alone = np.arange(rows)
    every = alike(looks, alone, np.ones(rows, np.int64), Near(bits=2, **HASH_AND_COLOUR))
    monkeypatch.setattr(crowds, "_MOST_PAIRS", 1000)
    monkeypatch.setattr(crowds, "_FEW", 200)
    fewer = alike(looks, alone, np.ones(rows, np.int64), Near(bits=2, **HASH_AND_COLOUR))
    assert 1 <= len(fewer.left) <= 1000 < len(every.left)
    score = np.full(rows, np.nan, np.float32)
    passed = np.arange(rows) % 3 > 0  # the middle may not
    kept = [kept_rows(passed, found, score) for found in (every, fewer)]
    assert np.array_equal(kept[0] == np.arange(rows), kept[1] == np.arange(rows))


def test_small_crowds_are_taken_together_where_there_are_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred pictures in 32 versions each: two of them are in a sample."""
    rows = 3200
    rng = np.random.default_rng(0)
    version, shown = np.divmod(rng.permutation(rows), 100)
    hashes = rng.integers(0, 2**64, 100, dtype=np.uint64)[shown] ^ np.uint64(1) << version.astype(np.uint64)
    looks = looking(hashes, np.zeros(rows))
    near, area = Near(bits=2, **HASH_AND_COLOUR), np.ones(rows, np.int64)
    assert len(alike(looks, np.arange(rows), area, near).left) == 100 * 32 * 31 // 2
    monkeypatch.setattr(crowds, "_MOST_PAIRS", 1000)
    monkeypatch.setattr(crowds, "_FEW", 100)
    found = alike(looks, np.arange(rows), area, near)
    assert len(found.left) <= 8 * rows  # half of the sixteen of which one is in the sample
    assert (shown[found.look] == shown).all()


def test_copies_hand_their_captions_over_each_once_and_their_own_come_first() -> None:
    captions = pa.array([["b", "a"], ["c"], ["a", "d", "b"], [], ["e"]], pa.large_list(pa.large_string()))
    assert handed_over(captions, np.array([2, 1, 2, 2, 4])).to_pylist() == [[], ["c"], ["a", "d", "b"], [], ["e"]]


def test_copies_captions_follow_in_list_order() -> None:
    captions = pa.array([["late"], ["z"], ["own"], ["a"]], pa.large_list(pa.large_string()))
    assert handed_over(captions, np.array([2, 2, 2, 2])).to_pylist()[2] == ["own", "late", "z", "a"]
