"""What download writes is read by the tools of others as what img2dataset writes is."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset
from img2dataset.reader import Reader
from pyarrow import ipc

from tests.jobs.downloading import answer, fetched, names, settings, write_pairs
from tests.vlp_core.web.site import Site

LISTS = [[*names([1, 2]), "dead1"], ["dead2", *names([3])]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("readers")
    with Site(answer) as site:
        yield fetched(write_pairs(folder / "pairs", *LISTS), folder / "out", settings(site))


def test_webdataset_reads_the_tars(made: Path) -> None:
    tars = str(made / "{00000..00001}.tar")
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("pil"))
    rows = {
        row["key"]: row for name in ("00000", "00001") for row in pq.read_table(made / f"{name}.parquet").to_pylist()
    }
    kept = [key for key, row in rows.items() if row["status"] == "success"]
    assert [sample["__key__"] for sample in samples] == kept and len(kept) == 3
    for sample in samples:
        row = rows[sample["__key__"]]
        assert sample["jpg"].size == (row["width"], row["height"])
        assert sample["txt"] == row["caption"] == row["captions"][0]
        assert sample["json"] == row


def test_img2dataset_reads_the_rows_as_a_list_and_sees_which_shards_are_done(made: Path, tmp_path: Path) -> None:
    """As `img2dataset --url_list 00000.parquet`, and as its incremental mode looks at a folder."""
    assert {int(path.name.split("_")[0]) for path in made.glob("*.json")} == {0, 1}
    reader = Reader(
        url_list=str(made / "00000.parquet"),
        input_format="parquet",
        url_col="url",
        caption_col="caption",
        verify_hash_col="sha256",
        verify_hash_type="sha256",
        save_additional_columns=["uid", "source"],
        number_sample_per_shard=2,
        done_shards=set(),
        tmp_path=str(tmp_path),
    )
    rows = [row for _, shard in reader for row in ipc.open_file(shard).read_all().to_pylist()]
    wanted = pq.read_table(made / "00000.parquet").to_pylist()
    assert rows == [{name: row[name] for name in reader.column_list} for row in wanted]
    assert {"url", "caption", "sha256", "uid"} <= set(reader.column_list)
