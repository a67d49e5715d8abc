"""Further columns of lists as text, whatever their makers put there."""

import pyarrow as pa
import pytest

from vlp_core.texts import as_text


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([b"\xff\0", b"text", None]), ["ff00", "text", None]),
        (pa.array([b"\xff" * 4], pa.binary(4)), ["f" * 8]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array([7, None]), ["7", None]),
        (pa.array([["a"], None]), [None, None]),
        (pa.array([{"a": 1}]), [None]),
    ],
)
def test_what_has_text_is_told_as_text(column: pa.Array, texts: list[str | None]) -> None:
    assert as_text(pa.chunked_array([column])).to_pylist() == texts
