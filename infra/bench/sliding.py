#!/usr/bin/env python
"""Versions of a list that grows and rots: each has lost a tenth of the links of the one before, and as many are new.

    infra/bench/sliding.py --list pairs.parquet --versions 3 --out lists     # lists/1.parquet, lists/2.parquet, …

Links are ordered by their hashes, and a version is a window in that order, which moves by `--part` of its length.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tyro

from vlp_core.identity import uid_of


@dataclass(frozen=True, kw_only=True)
class Sliding:
    list: Path
    """A Parquet list; a link with all its captions is in a version or not."""
    url_column: str = "url"
    versions: int = 3
    part: float = 0.1
    """Of a version's links that the next one has no more."""
    out: Path


def main(wanted: Sliding) -> None:
    pairs = pq.read_table(wanted.list)
    urls = pairs[wanted.url_column].combine_chunks()
    distinct = urls.unique()
    order = np.argsort([uid_of(url) for url in distinct.to_pylist()])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    of_row = rank[pc.index_in(urls, value_set=distinct).to_numpy()]
    size = int(len(distinct) / (1 + wanted.part * (wanted.versions - 1)))
    wanted.out.mkdir(parents=True, exist_ok=True)
    for version in range(wanted.versions):
        start = round(version * wanted.part * size)
        inside = pairs.filter(pa.array((of_row >= start) & (of_row < start + size)))
        path = wanted.out / f"{version + 1}.parquet"
        pq.write_table(inside, path)
        print(f"{path}: {size:,} links, {len(inside):,} rows")


if __name__ == "__main__":
    main(tyro.cli(Sliding))
