"""Which links a name stands for, however lists write them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.seen_by import Looker, Term
from vlp_core.identity import uid_of


@pytest.mark.parametrize(
    ("name", "url"),
    [("a.test", "http://a.t\test/1"), ("faß.test", "http://FAß.test/1"), ("[::1]", "http://[0::1]:80/1")],
)
def test_the_links_of_a_host_are_known_though_its_name_is_not_in_them(name: str, url: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"uid": [uid_of(url), "other"], "url": [url, None]}), tmp_path / "00000.parquet")
    terms = [Term.of(name), Term.of(f"http://{name}/1")]
    Looker(terms).spellings([tmp_path])
    assert [uid_of(url) in term.uids for term in terms] == [True, True]
