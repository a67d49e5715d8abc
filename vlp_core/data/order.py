"""The order of samples: an endless stream of epochs that any position can be looked up in.

An epoch is shuffled by blocks of neighbours in storage, then within windows of several blocks (the two-level shuffle of
buffered readers, without a buffer): remote stores are read in runs, and nothing has to be replayed to find a position.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vlp_core.errors import UserError
from vlp_core.identity import generator, key_of
from vlp_core.uids import mix


class Order:
    """position in the stream -> (epoch, sample): a function of seed, uids and weights alone.

    In each epoch a sample of weight w appears floor(w) times, and once more with probability w - floor(w).
    """

    def __init__(self, uids: pa.Array, weights: np.ndarray, *, seed: int, block: int, window: int) -> None:
        """`uids` [N] and `weights` float [N] >= 0 in storage order; `block` in samples, `window` in blocks."""
        if not len(weights) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
            raise UserError("the weights of a selection must be 0 or more, and not all 0; run the select step again")
        self._seed = seed
        self._block = block
        self._window = window
        self._whole = np.floor(weights).astype(np.int64)
        self._fraction = weights.astype(np.float64) - self._whole
        self._keys = _keys(uids) if self._fraction.any() else None
        self._ends: list[int] = []  # the stream's length after each epoch whose length is known
        self._epochs: dict[int, _Epoch] = {}  # the two used last

    def span(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Epochs and samples, int64 [stop - start] each, at the positions from start to stop."""
        epochs, samples = [], []
        while start < stop:
            epoch, begin, end = self.locate(start)
            part = self._epoch(epoch).span(start - begin, min(stop, end) - begin)
            epochs.append(np.full(len(part), epoch))
            samples.append(part)
            start = min(stop, end)
        return np.concatenate(epochs), np.concatenate(samples)

    def locate(self, position: int) -> tuple[int, int, int]:
        """The epoch that holds a position, and the positions at which it begins and ends."""
        if self._keys is None:  # every epoch has the same length
            length = int(self._whole.sum())
            epoch = position // length
            return epoch, epoch * length, (epoch + 1) * length
        while not self._ends or self._ends[-1] <= position:
            self._ends.append((self._ends[-1] if self._ends else 0) + int(self._repeats(len(self._ends)).sum()))
        epoch = int(np.searchsorted(self._ends, position, side="right"))
        return epoch, self._ends[epoch - 1] if epoch else 0, self._ends[epoch]

    def _repeats(self, epoch: int) -> np.ndarray:
        """How often each sample appears in an epoch, int64 [N]."""
        if self._keys is None:
            return self._whole
        draws = mix(self._keys ^ np.uint64(key_of(self._seed, "weight", epoch)))
        return self._whole + ((draws >> np.uint64(11)) * 2.0**-53 < self._fraction)

    def _epoch(self, epoch: int) -> "_Epoch":
        if epoch not in self._epochs:
            if len(self._epochs) == 2:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = self._shuffled(epoch)
        return self._epochs[epoch]

    def _shuffled(self, epoch: int) -> "_Epoch":
        items = np.concatenate(list(_passes(self._repeats(epoch))))
        starts = np.arange(0, len(items), self._block)
        starts = starts[generator(self._seed, "blocks", epoch).permutation(len(starts))]
        ends = np.cumsum(np.minimum(self._block, len(items) - starts))
        return _Epoch((self._seed, epoch), items, starts, ends, self._block, self._window)


@dataclass
class _Epoch:
    """One epoch: its blocks in shuffled order; the samples in a window are shuffled when the window is asked for."""

    key: tuple[int, int]
    items: np.ndarray  # the epoch's samples in storage order
    starts: np.ndarray  # where in `items` each block begins, in shuffled order
    ends: np.ndarray  # where in the epoch each block ends, likewise
    block: int
    window: int
    last: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def span(self, start: int, stop: int) -> np.ndarray:
        parts = []
        while start < stop:
            number = int(np.searchsorted(self.ends, start, side="right")) // self.window
            begin = int(self.ends[number * self.window - 1]) if number else 0
            samples = self._samples(number)
            part = samples[start - begin : stop - begin]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)

    def _samples(self, number: int) -> np.ndarray:
        if self.last[0] != number:
            starts = self.starts[number * self.window : (number + 1) * self.window]
            samples = np.concatenate([self.items[start : start + self.block] for start in starts])
            self.last = number, generator(*self.key, "window", number).permutation(samples)
        return self.last[1]


def _passes(repeats: np.ndarray) -> Iterator[np.ndarray]:
    """Samples that appear at least once, at least twice, …: a sample's copies lie in different blocks."""
    for times in range(int(repeats.max(initial=0)) or 1):
        yield np.flatnonzero(repeats > times)


def _keys(uids: pa.Array) -> np.ndarray:
    """uint64 [N]: a key of each uid, for draws by array."""
    return np.fromiter((key_of(uid) for uid in uids.to_pylist()), np.uint64, len(uids))
