"""Tombstones match what they name in whatever way a list writes it, and nothing else."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from vlp_core.data.takedowns import LONGEST_HOST, TAKEDOWNS, Takedowns, canonical_urls
from vlp_core.errors import UserError
from vlp_core.web.link import parsed


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
        ("host", "[::1]", "http://[0:0::1]/1", True),
        ("host", "a.test", "no url", False),
        ("url", "http://faß.test/1.jpg", "http://xn--fa-hia.test/1.jpg", True),
        ("url", "http://faß.test/1.jpg", "http://fass.test/1.jpg", False),
        ("host", "faß.test", "http://www.FAß.test./1.jpg", True),
        ("host", "fass.test", "http://faß.test/1.jpg", False),
        ("host", "a.test", "http://b。a。test。/1", True),
        ("host", "evil.test", "http://e\u00advil.test/1", True),
        ("url", "http://a.test/x", "http://one@two@a.test/x", True),
        ("url", "http://a.test/x", "http://a.test/x@b.test", False),
        ("url", "http://a.test/xy", "\x01 ht\ttp://a.t\nest/x\ry", True),
        ("url", "http://a.test/x", "http://a.test:080/x", True),
        ("url", "http://a.test:8080/x", "http://a.test:08080/x", True),
        ("url", "http://a.test:80x/x", "http://a.test/x", False),
    ],
)
def test_a_url_and_a_host_are_known_however_they_are_written(kind: str, value: str, url: str, down: bool) -> None:
    assert of(**{kind: value}).of_urls(pa.chunked_array([[url, None]])).tolist() == [down, False]


@pytest.mark.parametrize(
    "host", ["faß.de", "BÜcher.de", "βόλος.com", "ﬁ.de", "①.de", "a。de", "نامه\u200cای.com", "☃.de"]
)
def test_a_host_is_known_as_the_fetcher_asks_for_it(host: str) -> None:
    asked = parsed(f"http://{host}/")
    hosts = pa.array([host, host if asked is None else asked.raw_host])
    found = canonical_urls(pc.binary_join_element_wise("http://", hosts, ""))[0]
    assert found[0] == found[1] and found[0].as_py().isascii()


@pytest.mark.parametrize(("letters", "host"), [(LONGEST_HOST, True), (LONGEST_HOST + 1, False)])
def test_a_host_that_no_name_server_would_take_is_none(letters: int, host: bool) -> None:
    name = "a." * (letters // 2 - 3) + f"{'b' * (letters % 2 + 1)}.test"
    assert len(name) == letters
    url = pa.array([f"http://{name}/1.jpg"])
    assert canonical_urls(url)[0].is_valid().tolist() == of(host="test").of_urls(url).tolist() == [host]
    assert of(url=f"http://{name}/1.jpg").of_urls(url).tolist() == [True]


def test_a_host_of_many_labels_costs_no_other_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, is_in = 0, pc.is_in

    def counted(values: pa.Array, **given: object) -> pa.Array:
        nonlocal looked
        looked += len(values)
        return is_in(values, **given)

    urls = [f"http://{number}.test/" for number in range(1000)] + ["http://" + "a." * 100 + "down.test/"]
    down = of(host="down.test")
    monkeypatch.setattr(pc, "is_in", counted)
    assert np.flatnonzero(down.of_urls(pa.array(urls))).tolist() == [1000]
    assert looked < 6 * len(urls)


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
