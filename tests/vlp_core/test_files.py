"""A file is there whole or not at all."""

from pathlib import Path

import pyarrow as pa
import pytest

from vlp_core.files import replacing, write_table, write_text


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    table = pa.table({"uid": ["a", "b"], "captions": [["x"], ["y", "z"]]})
    for name in ("one", "two"):
        write_table(tmp_path / name, table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
