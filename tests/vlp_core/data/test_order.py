from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlp_core.data.order import Order
from vlp_core.errors import UserError
from vlp_core.identity import uid_of


def order(weights: np.ndarray, *, seed: int = 0, block: int = 4, window: int = 3) -> Order:
    uids = pa.array([uid_of(str(number)) for number in range(len(weights))])
    return Order(uids, weights.astype(np.float32), seed=seed, block=block, window=window)


sizes = st.integers(1, 200)
shapes = {"block": st.integers(1, 20), "window": st.integers(1, 20), "seed": st.integers(0, 5)}


@given(count=sizes, **shapes)
@settings(deadline=None)
def test_every_sample_comes_once_an_epoch(count: int, block: int, window: int, seed: int) -> None:
    stream = order(np.ones(count), seed=seed, block=block, window=window)
    epochs, samples = stream.span(0, 3 * count)
    for epoch in range(3):
        assert sorted(samples[epochs == epoch].tolist()) == list(range(count))


@given(weights=st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.5]), min_size=1, max_size=60), data=st.data(), **shapes)
@settings(deadline=None)
def test_any_position_is_found_without_the_ones_before(
    weights: list[float], data: st.DataObject, block: int, window: int, seed: int
) -> None:
    """A fresh stream asked for one position says what a stream read from the start says there."""
    if not sum(weights):
        return
    fresh = {"seed": seed, "block": block, "window": window}
    epochs, samples = order(np.array(weights), **fresh).span(0, 150)
    assert np.all(np.diff(epochs) >= 0)
    position = data.draw(st.integers(0, 149))
    found = order(np.array(weights), **fresh).span(position, position + 1)
    assert found == (epochs[position], samples[position])
    cut = data.draw(st.integers(0, 150))
    stream = order(np.array(weights), **fresh)
    tail, head = stream.span(cut, 151)[1], stream.span(0, cut + 1)[1]
    assert [*head[:-1], *tail[:-1]] == samples.tolist()


def test_epochs_and_seeds_give_other_orders() -> None:
    ones = np.ones(500)
    _, samples = order(ones).span(0, 1000)
    assert not np.array_equal(samples[:500], samples[500:])
    assert not np.array_equal(samples[:500], order(ones, seed=1).span(0, 500)[1])


def test_a_window_reads_few_runs_and_mixes_them() -> None:
    """Any window of the stream touches `window` runs of `block` neighbours, and its blocks do not come one by one."""
    block, window = 16, 8
    _, samples = order(np.ones(4096), block=block, window=window).span(0, 4096)
    for part in samples.reshape(-1, block * window):
        assert len(set((part // block).tolist())) == window
        changes = np.count_nonzero(np.diff(part // block))
        assert changes > 0.6 * len(part), "the samples of a block lie apart within the window"
    firsts = samples.reshape(-1, block * window).mean(axis=1)
    assert firsts.std() < 800 and abs(np.corrcoef(firsts, np.arange(len(firsts)))[0, 1]) < 0.6, "windows are spread out"


def test_a_weight_is_the_mean_number_of_turns_an_epoch() -> None:
    """floor(w) turns always, one more with the probability of the fraction, within four standard errors."""
    weights = np.repeat([0.0, 0.25, 1.0, 1.75, 3.0], 400)
    epochs, samples = order(weights, block=16, window=8).span(0, 20_000)
    whole = int(epochs[-1])  # the last epoch may be cut
    assert whole >= 6
    counts = np.zeros((whole, len(weights)), int)
    np.add.at(counts, (epochs[epochs < whole], samples[epochs < whole]), 1)
    assert np.all((counts == np.floor(weights)) | (counts == np.ceil(weights)))
    for weight in np.unique(weights):
        turns = counts[:, weights == weight]
        assert abs(turns.mean() - weight) <= 4 * 0.5 / np.sqrt(turns.size)
    assert np.any(counts[0] != counts[1]), "the draw differs from epoch to epoch"


def test_turns_of_one_sample_lie_apart() -> None:
    """Its copies are in different blocks: seldom in one batch."""
    _, samples = order(np.full(1000, 3.0), block=16, window=4).span(0, 3000)
    repeated = sum(count - 1 for part in samples.reshape(-1, 30) for count in Counter(part.tolist()).values())
    assert repeated < 60, "of 3,000; copies in one block would give about a thousand"


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [np.nan, 1.0]])
def test_weights_that_make_no_epoch_are_refused(weights: list[float]) -> None:
    with pytest.raises(UserError, match="weights"):
        order(np.array(weights))
