"""A file is there whole or not at all."""

import contextlib
import errno
from pathlib import Path

import pyarrow as pa
import pytest

from vlp_core.files import full_disk, no_space, remove_leftovers, replacing, wide, write_table, write_text


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_what_is_written_once_stays_as_it_was_first(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with contextlib.suppress(FileExistsError), replacing(tmp_path / "a.txt", once=True) as temporary:
            temporary.write_text(text)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("a.txt", "first")]


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.parquet.0123abcd.tmp", "a.parquet", ".hidden"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, tmp_path / "is not there")
    assert {found.name for found in tmp_path.iterdir()} == {"a.parquet", ".hidden"}


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_full_disk_is_told_from_other_faults_and_named_in_one_line(number: int, full: bool) -> None:
    assert full_disk(OSError(number, "x")) == full
    said = no_space(Path("/data/runs"))
    assert said.startswith("/data/runs: no space left") and "--root" in said and "\n" not in said


def test_wide_columns_hold_what_the_narrow_ones_did() -> None:
    columns = {"uid": ["a", None], "captions": [["x"], ["y", None]], "body": [b"1", b"2"], "n": [1, 2]}
    found = wide(pa.table(columns))
    assert found.to_pydict() == columns
    assert found.schema.types == [pa.large_string(), pa.large_list(pa.large_string()), pa.large_binary(), pa.int64()]


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    table = pa.table({"uid": ["a", "b"], "captions": [["x"], ["y", "z"]]})
    for name in ("one", "two"):
        write_table(tmp_path / name, table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
