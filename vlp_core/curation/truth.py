"""What a selection is worth where it is known what each picture is: the share of it that is good, and the share of what
is good that it has.

A truth is a table of `uid`, `kind` and `original`: what each link leads to, and of a copy or a leak the uid of the
picture that it shows. Kinds are those of the embedded corpus (`vlp_core.miniature.web`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.errors import UserError, first_line

FAULTY = ("filename", "boilerplate", "wrong", "foreign", "tiny")
"""Kinds that rules are there for."""
LEAK = "leak"
_NEEDED = ("uid", "kind", "original")
_TRUTH = pa.schema([(name, pa.large_string()) for name in _NEEDED])


def check_truth(path: Path) -> None:
    """UserError where a file is no truth, by its columns alone."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise _no_truth(path, "no Parquet file that can be read" if path.is_file() else "no such file") from error
    for name in _NEEDED:
        if name not in schema.names:
            raise _no_truth(path, f"has no column '{name}'")
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise _no_truth(path, f"'{name}' is {kind}, not text")


def read_truth(path: Path, uids: pa.Array) -> pa.Table:
    """The rows of a truth about these uids; UserError where it is no such table, or knows none of them."""
    check_truth(path)
    try:
        truth = pq.read_table(path, columns=list(_NEEDED)).cast(_TRUTH)
    except (OSError, pa.ArrowException) as error:
        raise _no_truth(path, first_line(error)) from error
    known = truth.filter(pc.is_in(truth["uid"], value_set=uids)).combine_chunks()
    if not len(known):
        raise UserError(f"--report.truth {path}: knows none of the {len(uids):,} rows; give the truth of this list")
    return known


def _no_truth(path: Path, why: str) -> UserError:
    return UserError(
        f"--report.truth {path}: {why}; give a Parquet table of {', '.join(_NEEDED)} (see README), a row a link"
    )


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Of a selection: pictures that are good, of how many that are known; and how many good ones there were."""

    good: int
    selected: int
    there: int

    @property
    def precision(self) -> float:
        """The share of what is selected that is good."""
        return self.good / self.selected if self.selected else 0.0

    @property
    def recall(self) -> float:
        """The share of what is good that is selected."""
        return self.good / self.there if self.there else 0.0

    @property
    def f1(self) -> float:
        """Their harmonic mean: what selections are ranked by."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def worth(selected: pa.Array, known: pa.Table) -> Worth:
    """What the `selected` uids are worth by what is `known` of those that were fetched (see `read_truth`).

    Good is a picture that no evaluation set has under a caption that is true of it, once: a copy beside what it copies
    adds to what is selected, not to what is good of it. Uids of which nothing is known are not counted.
    """
    uids, kinds = (known[name].combine_chunks() for name in ("uid", "kind"))
    pictures = pc.coalesce(known["original"].combine_chunks(), uids)
    good = pc.invert(pc.is_in(kinds, value_set=pa.array([*FAULTY, LEAK]))).to_numpy(zero_copy_only=False)
    chosen = pc.is_in(uids, value_set=selected).to_numpy(zero_copy_only=False)
    return Worth(good=_distinct(pictures, good & chosen), selected=int(chosen.sum()), there=_distinct(pictures, good))


def _distinct(pictures: pa.Array, which: np.ndarray) -> int:
    return len(pc.unique(pictures.filter(pa.array(which))))
