"""Drift: equal data sets do not differ, and what was changed is what is told."""

import numpy as np
import pyarrow as pa
import pytest

from tests.vlp_core.report.samples import sample_with
from vlp_core.report.drift import by_chance, gap, overlap, shifts_of, words_of
from vlp_core.report.sample import Sample


def sample(side: float, words: list[str], seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    made = sample_with([1] * 300, {"side": rng.normal(side, 30, 300), "language": rng.choice(["en", "fr"], 300)})
    captions = pa.array([[" ".join(rng.choice(words, 4))] for _ in range(300)], pa.large_list(pa.large_string()))
    at = made.pictures.schema.get_field_index("captions")
    return sample_with([1] * 300, made.values, pictures=made.pictures.set_column(at, "captions", captions))


def test_what_moved_is_told_first_and_what_did_not_is_zero() -> None:
    here, there = sample(300, ["a", "red", "dog"]), sample(250, ["a", "blue", "dog"])
    assert [shift.distance for shift in shifts_of(here, here)] == [0, 0, 0]
    first, *others = shifts_of(here, there)
    assert first.quantity == "side" and first.distance > 0.5
    assert {shift.quantity: shift.distance for shift in others} == {"language": 0, "host": 0}
    assert first.bins is not None and sum(first.shares[0]) == pytest.approx(1)
    gained, lost = words_of(here, there)
    assert ([word.text for word in gained], [word.text for word in lost]) == (["red"], ["blue"])


def test_the_distance_is_that_of_kolmogorov_and_smirnov() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    left, right = np.sort(rng.integers(0, 9, 80)), np.sort(rng.integers(2, 12, 50))
    assert gap(left, right) == pytest.approx(stats.ks_2samp(left, right).statistic)


def test_what_chance_alone_parts_is_as_large_as_few_pictures_make_it() -> None:
    rng = np.random.default_rng(2)
    for here, there in ((40, 60), (400, 90)):
        gaps = [gap(*(np.sort(rng.random(number)) for number in (here, there))) for _ in range(2000)]
        assert 0.02 < np.mean(np.array(gaps) > by_chance(here, there)) < 0.07
    assert by_chance(4, 4) > 0.9 and by_chance(1, 9) == by_chance(0, 9) == 1


def test_links_in_both_and_pictures_that_changed_behind_them() -> None:
    here = pa.table({"uid": ["a", "b", "c", "d", "n"], "sha256": ["1", "2", "3", "1", None]})
    there = pa.table({"uid": ["b", "c", "e"], "sha256": ["2", "9", "1"]})
    found = overlap(here, there, every=1)
    assert (found.links, found.links_there, found.shared, found.changed) == (5, 3, 2, 1)
    assert (found.pictures, found.pictures_shared, found.hashed) == (3, 2, True)
    unhashed = there.set_column(1, "sha256", pa.nulls(3, pa.string()))
    assert not overlap(here, unhashed, every=1).hashed
