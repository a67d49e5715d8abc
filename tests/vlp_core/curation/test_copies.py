"""Stars of copies: who stays, who goes, and where the captions end up."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlp_core.curation.test_near import brute, clustered
from vlp_core.curation import copies as copies_module
from vlp_core.curation import near as near_module
from vlp_core.curation.copies import copies_table, kept_rows, ranks, stars
from vlp_core.curation.near import Looks
from vlp_core.curation.settings import Near


def test_larger_pictures_come_first_then_list_order() -> None:
    assert ranks(np.array([10, 30, 10, 20], np.int32), np.array([10, 10, 10, 15], np.int32)).tolist() == [1, 3, 0, 2]


def test_a_chain_is_not_merged() -> None:
    """0 is near 1, 1 near 2, but 0 not near 2: 2 stays, for what claims 1 does not reach it."""
    looks = Looks(np.array([0, 0xF, 0xFF], np.uint64), np.zeros((3, 192), np.uint8))
    assert stars(looks, Near(bits=4)).tolist() == [0, 0, 2]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 60),
    bits=st.integers(0, 12),
    window=st.sampled_from([1, 3, 2**16]),
    most=st.sampled_from([1, 20, 2**25]),
)
def test_as_going_down_the_ranks_one_by_one(seed: int, rows: int, bits: int, window: int, most: int) -> None:
    """Against the rule as it is stated, with equal bytes, equal looks and pictures of equal size among the rows.

    Whatever the window that is looked at at a time, and however few pairs may be held.
    """
    rng = np.random.default_rng(seed)
    looks = clustered(seed, rows, 4)
    looks = looks.take(rng.integers(0, rows, rows))  # some look exactly alike
    same = np.array([hash(looks.phash[row].tobytes()) % 7 * rows + row % 3 for row in range(rows)])
    same = np.unique(np.stack([looks.phash, same.astype(np.uint64)]), axis=1, return_inverse=True)[1].ravel()
    same = _equal_looks_only(same, looks)
    near = Near(bits=bits, colour=8)
    order = ranks(rng.integers(1, 4, rows), np.ones(rows, np.int64))
    reach = brute(looks, looks, near)
    expected = np.full(rows, -1)
    for row in order:
        if expected[row] < 0:
            claimed = [other for other in range(rows) if expected[other] < 0]
            for other in claimed:
                if same[other] == same[row] or (row, other) in reach:
                    expected[other] = row
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies_module, "_WINDOW", window)
        patch.setattr(copies_module, "_MOST_PAIRS", most)
        assert kept_rows(same, looks, order, near).tolist() == expected.tolist()


def test_many_near_copies_of_one_picture_are_never_held_as_all_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 3000
    bits = np.uint64(1) << (np.arange(rows) % 64).astype(np.uint64)
    looks = Looks(bits, np.repeat(np.arange(rows, dtype=np.uint8)[:, None] % 5, 192, axis=1))
    held: list[int] = []
    claim = copies_module._claim
    monkeypatch.setattr(copies_module, "_MOST_PAIRS", 10_000)
    monkeypatch.setattr(near_module, "_CHUNK", 1000)
    monkeypatch.setattr(copies_module, "_claim", lambda c, left, right: (held.append(len(left)), claim(c, left, right)))
    assert stars(looks, Near(bits=2)).tolist() == [0] * rows
    assert 0 < max(held) <= 10_000 < rows * (rows - 1) // 2


def _equal_looks_only(same: np.ndarray, looks: Looks) -> np.ndarray:
    """Equal bytes look alike: groups of bytes are parted by looks."""
    packed = np.concatenate([same[:, None], looks.phash[:, None].astype(np.int64), looks.colour], axis=1)
    return np.unique(packed, axis=0, return_inverse=True)[1].ravel()


def test_copies_hand_their_captions_over_each_once_and_their_own_come_first() -> None:
    captions = pa.array([["b", "a"], ["c"], ["a", "d", "b"], [], ["e"]], pa.list_(pa.string()))
    kept = np.array([2, 1, 2, 2, 4])
    table = copies_table(pa.array(list("vwxyz")), pa.array(["1", "2", "1", "3", "4"]), captions, kept)
    assert table["kept_uid"].to_pylist() == ["x", "w", "x", "x", "z"]
    assert table["reason"].to_pylist() == ["exact", None, None, "near", None]
    assert table["captions"].to_pylist() == [[], ["c"], ["a", "d", "b"], [], ["e"]]


def test_copies_captions_follow_in_list_order() -> None:
    captions = pa.array([["late"], ["z"], ["own"], ["a"]], pa.list_(pa.string()))
    table = copies_table(pa.array(list("wxyz")), pa.array(["1"] * 4), captions, np.array([2, 2, 2, 2]))
    assert table["captions"].to_pylist()[2] == ["own", "late", "z", "a"]
