"""Samples to batches: what comes at a position depends on the seed, never on how many ranks or threads there are."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vlp_core.batch import Batch
from vlp_core.data.order import Order
from vlp_core.data.pictures import Memory, Picture
from vlp_core.data.samples import Samples, text_id
from vlp_core.data.settings import Data
from vlp_core.data.tokens import Tokenizer
from vlp_core.errors import UserError
from vlp_core.identity import generator, key_of

_CHUNK = 16  # samples a thread takes at once: few enough that a batch is shared out evenly


class Augment(Protocol):
    """What the loader asks of a transform."""

    @property
    def size(self) -> int:
        """Side of the square in pixels."""

    def train(self, picture: Picture, rng: np.random.Generator) -> Tensor:
        """uint8 [3, size, size]."""


class Loader:
    """An endless iterator of one rank's batches.

    Global batch b holds the positions [b·B, (b+1)·B) of the order, and each rank a run of B / world of them. A caption
    is drawn by (seed, epoch, uid), and so is the augmentation. `cursor` is the number of samples that all ranks have
    consumed: given to a new loader, it goes on where this one stood. Threads do, for decoding lets go of Python's lock.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        tokenize: Tokenizer,
        transform: Augment,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        cursor: int = 0,
        block: int = Data.block,
        window: int = Data.window,
        threads: int = 2,
        prefetch: int = 2,
        keep_bytes: int = 0,
        pin: bool = False,
    ) -> None:
        """`batch_size` is that of all ranks together; `pin` puts batches where a GPU fetches them without waiting;
        of what was decoded, so many bytes are kept for the next epoch.

        Raises UserError for a batch that ranks cannot share evenly, too few samples, or samples without a caption.
        """
        _check(samples, batch_size, world)
        self._samples = samples
        self._tokenize = tokenize
        self._transform = transform
        self._seed = seed
        self._batch_size = batch_size
        self._share = batch_size // world
        self._first = rank * self._share
        self._order = Order(samples.uids, samples.weights, seed=seed, block=block, window=window)
        self._memory = Memory(keep_bytes)
        self._pin = pin
        self._prefetch = prefetch
        self._epoch = float(samples.weights.sum())  # samples of an epoch in the mean
        self._scheduled = cursor
        self._pending: deque[_Pending] = deque()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self.cursor = cursor
        """Samples that all ranks have been given; what a checkpoint keeps."""
        self.wait_seconds = 0.0
        """Time for which the consumer has waited for data."""

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        while len(self._pending) <= self._prefetch:  # the one asked for, and those ahead of it
            self._pending.append(self._schedule())
        batch = self._pending.popleft().result()
        self.cursor += self._batch_size
        self.wait_seconds += time.perf_counter() - start
        return batch

    def close(self) -> None:
        """Ends the threads; what they have begun is dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _schedule(self) -> "_Pending":
        start = self._scheduled + self._first
        epochs, positions = self._order.span(start, start + self._share)
        done = self._scheduled / self._epoch
        self._scheduled += self._batch_size
        side = self._transform.size
        pixels = torch.empty(self._share, 3, side, side, dtype=torch.uint8, pin_memory=self._pin)
        parts = [
            self._threads.submit(self._make, epochs[i : i + _CHUNK], positions[i : i + _CHUNK], pixels[i : i + _CHUNK])
            for i in range(0, self._share, _CHUNK)
        ]
        return _Pending(
            pixels, self._samples.image_ids[positions], parts, done, self._tokenize.vocabulary.pad, self._pin
        )

    def _make(self, epochs: np.ndarray, positions: np.ndarray, pixels: Tensor) -> "_Part":
        """Fills `pixels`; runs in a thread."""
        uids = [self._samples.uid(i) for i in positions]
        captions, keys = [], []
        for row, (epoch, i, uid) in enumerate(zip(epochs.tolist(), positions.tolist(), uids, strict=True)):
            pixels[row] = self._picture(i, uid, generator(self._seed, epoch, uid))
            of_this = self._samples.captions(i)
            captions.append(of_this[key_of(self._seed, "caption", epoch, uid) % len(of_this)])
            keys.append(key_of(self._seed, "sample", epoch, uid) - 2**63)
        return _Part(uids, self._tokenize(captions), [text_id(caption) for caption in captions], keys)

    def _picture(self, i: int, uid: str, rng: np.random.Generator) -> Tensor:
        picture = Picture(lambda: self._samples.image_bytes(i), self._memory, i)
        try:
            return self._transform.train(picture, rng)
        except Exception as error:
            raise UserError(
                f"{self._samples.file(i)}: the picture of uid {uid} cannot be decoded ({error}); "
                "fetch this shard again or take the uid out of the selection"
            ) from error


@dataclass(frozen=True)
class _Part:
    """What a thread made of a few samples, beside their pixels."""

    uids: list[str]
    tokens: Tensor
    text_ids: list[int]
    keys: list[int]


@dataclass(frozen=True)
class _Pending:
    """A batch in the making."""

    pixels: Tensor
    image_ids: np.ndarray
    parts: list["Future[_Part]"]
    epoch: float
    pad: int
    pin: bool

    def result(self) -> Batch:
        parts = [part.result() for part in self.parts]
        return Batch(
            pixels=self.pixels,
            tokens=self._placed(_beneath([part.tokens for part in parts], self.pad)),
            image_id=self._placed(torch.from_numpy(self.image_ids)),
            text_id=self._placed(torch.tensor([name for part in parts for name in part.text_ids], dtype=torch.int64)),
            key=self._placed(torch.tensor([key for part in parts for key in part.keys], dtype=torch.int64)),
            uid=[uid for part in parts for uid in part.uids],
            epoch=self.epoch,
        )

    def _placed(self, values: Tensor) -> Tensor:
        """Where a GPU fetches them; from elsewhere a copy waits for all that the GPU was given before."""
        return values.pin_memory() if self.pin else values


def _beneath(tokens: list[Tensor], pad: int) -> Tensor:
    """Texts [B, L] of several lengths as one [B, L] of the longest."""
    longest = max(part.shape[1] for part in tokens)
    return torch.cat([F.pad(part, (0, longest - part.shape[1]), value=pad) for part in tokens])


def _check(samples: Samples, batch_size: int, world: int) -> None:
    if batch_size < 1 or batch_size % world:
        raise UserError(f"batch size {batch_size} cannot be shared by {world} ranks; give a multiple of {world}")
    if samples.weights.sum() < batch_size:
        raise UserError(
            f"{samples.weights.sum():.0f} samples are fewer than one batch of {batch_size}; lower the batch size or "
            "give more data"
        )
    bare = np.flatnonzero(samples.caption_counts == 0)
    if len(bare):
        raise UserError(f"{len(bare)} samples have no caption, such as uid {samples.uid(bare[0])}; leave them out")
