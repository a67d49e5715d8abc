"""Tombstones match what they name in whatever way a list writes it, and nothing else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlp_core.data.takedowns import TAKEDOWNS, Takedowns
from vlp_core.errors import UserError


def of(**values: str) -> Takedowns:
    nothing = pa.nulls(len(values))
    columns = [pa.array(values.keys()), pa.array(values.values()), nothing, nothing, nothing]
    return Takedowns.of(pa.table(columns, names=TAKEDOWNS.names).cast(TAKEDOWNS))


@pytest.mark.parametrize(
    ("kind", "value", "url", "down"),
    [
        ("url", "http://a.test/x?y=1", "http://a.test/x?y=1", True),
        ("url", "http://a.test/x", "HTTPS://user:word@A.Test.:443/x#part", True),
        ("url", "http://a.test/a b/é", "http://a.test/a%20b/%C3%A9", True),
        ("url", "http://a.test", "http://a.test:80/", True),
        ("url", "http://a.test/x", "http://a.test:8080/x", False),
        ("url", "http://a.test/x", "http://a.test/X", False),
        ("url", "http://a.test/x", "http://a.test/x?", False),
        ("host", "a.test", "http://b.c.a.test:81/x", True),
        ("host", "A.test.", "http://a.test", True),
        ("host", "a.test", "http://ba.test/a.test", False),
        ("host", "b.a.test", "http://a.test/", False),
        ("host", "xn--mnchen-3ya.test", "http://bilder.münchen.test/1", True),
        ("host", "[::1]", "http://[::1]:8080/1", True),
        ("host", "a.test", "no url", False),
    ],
)
def test_a_url_and_a_host_are_known_however_they_are_written(kind: str, value: str, url: str, down: bool) -> None:
    assert of(**{kind: value}).of_urls(pa.chunked_array([[url, None]])).tolist() == [down, False]


def test_a_picture_is_known_by_its_sha256_and_an_empty_url_is_no_tombstone() -> None:
    down = of(sha256="AB" * 32)
    assert down.of_pictures(pa.array(["ab" * 32, "cd" * 32, None])).tolist() == [True, False, False]
    assert not of(url="no url").of_urls(pa.array([None, "neither"])).any() and not of(url="no url")


def test_a_file_that_is_not_there_takes_nothing_down_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    assert not Takedowns.read(None) and not Takedowns.read(tmp_path / "none.parquet")
    pq.write_table(TAKEDOWNS.empty_table(), tmp_path / "takedowns.parquet")
    assert not Takedowns.read(tmp_path / "takedowns.parquet")
    (tmp_path / "takedowns.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"takedowns\.parquet: not readable as a file of takedowns"):
        Takedowns.read(tmp_path / "takedowns.parquet")
