"""Hashes of a whole data set as arrays, and what names them on the command line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.hashed import Hashed, hash_folders
from vlp_core.curation.alike import looks_of
from vlp_core.data.layout import HASHES, read_shards, shard_name
from vlp_core.errors import UserError
from vlp_core.files import write_table, write_text
from vlp_core.identity import generator, sha256_of, uid_of


def write_hashes(folder: Path, sizes: list[int]) -> Path:
    """Shards of so many random looks; every fifth looks like the first of its shard."""
    for shard, size in enumerate(sizes):
        names = [f"{shard}-{row}" for row in range(size)]
        seeds = [name if row % 5 else f"{shard}-0" for row, name in enumerate(names)]
        columns = [
            [uid_of(name) for name in names],
            [sha256_of(name.encode()) for name in names],
            pa.array([int(generator(seed).integers(2**63)) for seed in seeds], pa.uint64()),
            pa.array([generator(seed).bytes(192) for seed in seeds], pa.binary(192)),
            pa.array([generator(seed).bytes(256) for seed in seeds], pa.binary(256)),
            pa.array([640] * size, pa.int32()),
            pa.array([480 if row else None for row in range(size)], pa.int32()),
        ]
        write_table(folder / f"{shard_name(shard)}.parquet", pa.table(columns, schema=HASHES))
    return folder


def test_the_looks_of_any_rows_are_read_out_of_their_shards(tmp_path: Path) -> None:
    seen = Hashed.read(write_hashes(tmp_path, [7, 0, 12]))
    assert len(seen) == 19 and seen.area.tolist() == [0, *[640 * 480] * 6, 0, *[640 * 480] * 11]
    whole = looks_of(read_shards(tmp_path, HASHES.names))
    for rows in ([], [0], [2, 6, 7, 18], list(range(19))):
        some = seen.looks_at(np.array(rows, np.int64))
        for name in ("phash", "colour", "grey"):
            assert np.array_equal(getattr(some, name), getattr(whole, name)[rows]), name
            parts = [getattr(part, name) for part in seen.looks_in_parts(np.array(rows, np.int64), 5)]
            assert [len(part) for part in parts[:-1]] == [5] * (len(parts) - 1)
            assert np.array_equal(np.concatenate(parts), getattr(some, name)), name
    same_looks = (seen.looks[:, None] == seen.looks[None]).all(axis=2)
    expected = (whole.grey[:, None] == whole.grey[None]).all(axis=2)
    assert np.array_equal(same_looks, expected) and expected.sum() > 19


def test_a_folder_of_hashes_or_the_root_of_runs_that_made_some(tmp_path: Path) -> None:
    made = [write_hashes(tmp_path / "runs" / "hash" / name, [3]) for name in ("one", "two", "unfinished")]
    for folder in made[:2]:
        write_text(folder / "_RECORD.json", "{}")
    assert hash_folders(made[2]) == [made[2]]
    assert hash_folders(tmp_path / "runs") == made[:2]
    for other in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError, match=rf"--dedup.against {other}: no hashes of pictures in it"):
            hash_folders(other)
