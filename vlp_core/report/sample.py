"""What is known of some of a data set's shards, as arrays: the part of it that a report looks into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vlp_core.curation.quantities import of_captions, unknown

Values = Mapping[str, NDArray[np.generic]]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """All rows of some shards.

    listed    rows as the list has them, fetched or not: uid, url, error_message (null where it was fetched)
    pictures  those that were fetched, [pictures]: uid, url, sha256, captions
    values    by quantity, [pictures] or [captions], all captions one after the other
    rule      the rule that each picture fell to, null where to none; null throughout where nothing was asked
    selected  which pictures are in the data set
    chosen_captions  which captions are, each of a picture once; those that a copy handed over are the copy's here
    """

    listed: pa.Table
    pictures: pa.Table
    values: Values
    rule: pa.Array
    selected: Bools
    chosen_captions: Bools
    shards: int
    shards_in_all: int

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def whole(self) -> bool:
        """Whether it is all of the data set."""
        return self.shards == self.shards_in_all

    @cached_property
    def uids(self) -> pa.Array:
        return self.pictures["uid"].combine_chunks()

    @cached_property
    def captions(self) -> pa.LargeListArray:
        return self.pictures["captions"].combine_chunks()

    @cached_property
    def texts(self) -> pa.Array:
        return pc.list_flatten(self.captions)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """The picture of each caption, [captions]."""
        return pc.list_parent_indices(self.captions).to_numpy()

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each picture's captions begin, [pictures + 1]."""
        return np.searchsorted(self.owner, np.arange(len(self) + 1))

    def values_of(self, quantity: str) -> NDArray[np.generic]:
        """As `values` has them; none is known of a quantity that the data set has in other shards alone."""
        if quantity in self.values:
            return self.values[quantity]
        return unknown(quantity, len(self.texts) if of_captions(quantity) else len(self))

    def every(self, quantity: str) -> NDArray[np.generic]:
        """The known values of a quantity."""
        return known(self.values[quantity])

    def chosen(self, quantity: str) -> NDArray[np.generic]:
        """The known values of a quantity among the pictures, or the captions, of the data set."""
        return known(self.values[quantity][self.chosen_captions if of_captions(quantity) else self.selected])


def known(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The values that are known: not nan, not None."""
    if values.dtype.kind == "f":
        return values[~np.isnan(values)]
    return values[values != np.array(None)] if values.dtype.kind == "O" else values


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables one after the other, as one array a column."""
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def evenly(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, spread over all of them."""
    if count >= len(names):
        return list(names)
    return [names[place * len(names) // count] for place in range(max(1, count))]
