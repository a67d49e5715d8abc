"""Rows of other tools' as IMAGES: nothing of theirs is lost, and nothing is taken for what it is not."""

import pyarrow as pa
import pytest

from vlp_core.data.foreign import as_images
from vlp_core.data.layout import IMAGES
from vlp_core.identity import uid_of

ROWS = {"key": ["0", "1"], "url": ["http://a.test/0", None], "status": ["success", "success"]}
HEX = ["0" * 32, "1" * 32]


def images(**columns: object) -> pa.Table:
    return as_images(
        pa.table({**ROWS, **columns}), name="set/00000", caption_names=("alt", "caption"), caption_column="named"
    )


def test_a_row_has_all_columns_of_images() -> None:
    table = images()
    assert table.schema.equals(IMAGES)
    assert table["url"].to_pylist() == ["http://a.test/0", "set/00000#1"] and table["source"].to_pylist() == ["set"] * 2
    assert table["uid"].to_pylist() == [uid_of(url) for url in table["url"].to_pylist()]


@pytest.mark.parametrize(
    ("theirs", "taken"),
    [(HEX, True), (["a", "b"], False), ([7, 8], False), ([HEX[0]] * 2, False), ([HEX[0], None], False)],
    ids=["ours", "words", "numbers", "twice", "missing"],
)
def test_their_uids_are_kept_where_they_are_some(theirs: list, taken: bool) -> None:
    """DataComp has uids like ours, which its users know pictures by; others number their rows."""
    table = images(uid=theirs)
    assert (table["uid"].to_pylist() == theirs) == taken
    assert ("given_uid" in table.column_names) != taken
    assert len(set(table["uid"].to_pylist())) == 2


@pytest.mark.parametrize(
    ("columns", "captions"),
    [
        ({"caption": [" a ", ""]}, [["a"], []]),
        ({"alt": ["b", None], "caption": ["a", "a"]}, [["b"], []]),
        ({"captions": [["a", " ", "b "], None], "caption": ["c", "c"]}, [["a", "b"], []]),
        ({"captions": ["c", "d"]}, [["c"], ["d"]]),
        ({}, [[], []]),
        ({"named": ["n", "o"], "captions": [["a"], ["b"]], "alt": ["c", "d"]}, [["n"], ["o"]]),
        ({"named": [1, 2], "alt": ["c", "d"]}, [["c"], ["d"]]),
    ],
)
def test_captions_are_found_and_trimmed(columns: dict, captions: list) -> None:
    """What was asked for comes first."""
    table = images(**columns)
    assert table["captions"].to_pylist() == captions
    assert table["caption"].to_pylist() == [texts[0] if texts else None for texts in captions]


def test_columns_of_another_meaning_are_kept_under_another_name() -> None:
    table = images(sha256=["a" * 64, "md5"], width=["wide", "1"], bytes=pa.array([1, 2], pa.int16()), extra=[1, 2])
    assert table["sha256"].to_pylist() == ["a" * 64, None] and table["given_sha256"].to_pylist() == ["a" * 64, "md5"]
    assert table["width"].null_count == 2 and table["given_width"].to_pylist() == ["wide", "1"]
    assert table["bytes"].to_pylist() == [1, 2] and "given_bytes" not in table.column_names
    assert table["extra"].to_pylist() == [1, 2]
