"""What a judge is given: the fetched pictures of a shard, without their bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.language import FASTTEXT


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Rows of IMAGES that were fetched, and what is known of the whole set."""

    rows: pa.Table
    detector: str = FASTTEXT
    """What tells a text's language, as 'module:function'."""
    shared: tuple[NDArray[np.uint64], NDArray[np.int64]] | None = None
    """Keys of the captions that several pictures have, sorted, and how many have each."""
    phashes: Callable[[NDArray[np.int64]], NDArray[np.uint64]] | None = None
    """Reads pictures, by their rows, and tells their perceptual hashes: for the few that a judge has to look at."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def captions(self) -> pa.ListArray:
        """The captions of each picture, [pictures]."""
        return self.rows["captions"].combine_chunks()

    @cached_property
    def offsets(self) -> pa.Array:
        """Where each picture's captions begin among `texts`, [pictures + 1]: judges of captions give lists by these."""
        return pc.subtract(self.captions.offsets, self.captions.offsets[0])

    @cached_property
    def texts(self) -> pa.StringArray:
        """All captions one after the other, [captions]."""
        return pc.list_flatten(self.captions)
