"""What judges found, read back by those who compare it: rules and the report."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.curation.quantities import QUANTITIES, of_captions
from vlp_core.errors import UserError


def column(folders: Sequence[Path], name: str, quantity: str) -> np.ndarray | None:
    """A shard's values of a quantity: [pictures], or [captions] one after the other; None where they are not known.

    UserError where none of the folders has it.
    """
    return columns(folders, name, [quantity])[quantity]


def columns(folders: Sequence[Path], name: str, quantities: Iterable[str]) -> dict[str, np.ndarray | None]:
    """A shard's values of several quantities, as `column` gives them, each file read once."""
    asked, found = set(quantities), dict[str, np.ndarray | None]()
    for folder in folders:
        if asked - set(found):
            for quantity, values in _stored(folder / f"{name}.parquet", asked - set(found)):
                found[quantity] = _as_array(quantity, values)
    for quantity in sorted(asked - set(found)):
        about = QUANTITIES[quantity].about
        raise UserError(f"{quantity} ({about}): measured in none of {', '.join(map(str, folders))}")
    return found


def _stored(path: Path, quantities: set[str]) -> Iterator[tuple[str, pa.Array]]:
    try:
        with pq.ParquetFile(path) as file:
            here = [name for name in file.schema_arrow.names if name in quantities]
            table = file.read(columns=here) if here else pa.table({})
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet shard ({error}); delete it and run again") from error
    for name in here:
        yield name, table[name].combine_chunks()


def _as_array(quantity: str, values: pa.Array) -> np.ndarray | None:
    if pa.types.is_null(values.type):
        return None
    return (pc.list_flatten(values) if of_captions(quantity) else values).to_numpy(zero_copy_only=False)
